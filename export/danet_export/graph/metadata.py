"""Metadata of a model file: what the manifest says of it, for people and for viewers such as Netron.

Nothing reads it back: the manifest decides, and its hashes cover the metadata with the rest of the file.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Final

import onnx
from onnx import helper

from danet_export.graph.geometry import Geometry
from danet_runtime.bundle.manifest import IGNORE_LABEL, SCHEMA_VERSION
from danet_train.classes import ClassTable

PREFIX: Final = "danet."
"""Beginning of every key, which keeps them apart from those of other tools."""


def describe(classes: ClassTable, geometry: Geometry) -> dict[str, str]:
    """Return the metadata of a model file, each value a text.

    ``danet.classes`` and ``danet.palette`` are JSON lists, of names and of RGB colors 0..255, by label; sizes
    are HxW in pixels.

    Args:
        classes: Names and colors, one for each label.
        geometry: The sizes, and the format of the camera's pixels.
    """
    pixels = geometry.pixels
    values = {
        "version": version("danet-export"),
        "schema": str(SCHEMA_VERSION),
        "classes": json.dumps(classes.names, ensure_ascii=False),
        "palette": json.dumps(classes.colors),
        "ignore_label": str(IGNORE_LABEL),
        "pixel_format": pixels.format,
        "frame_size": _size(geometry.frame_hw),
        "model_size": _size(geometry.model_hw),
        "fit": geometry.fit,
    }
    if pixels.format != "bgr":
        values |= {"color": pixels.color, "range": pixels.range}
    return {PREFIX + key: value for key, value in values.items()}


def write_metadata(model: onnx.ModelProto, values: dict[str, str]) -> None:
    """Put ``values`` into ``model``, in place of any metadata that it has."""
    helper.set_model_props(model, values)


def _size(size_hw: tuple[int, int]) -> str:
    return "x".join(map(str, size_hw))
