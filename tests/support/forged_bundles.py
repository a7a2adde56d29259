"""Bundles as somebody else may write them: whole and signed, past this project's own writer."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from danet_runtime.bundle import MANIFEST_NAME, SIGNATURE_NAME, Bundle, SigningKey


def forge(
    bundle: Bundle,
    folder: Path,
    files: dict[str, bytes],
    edit: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """A copy of a bundle with other files of which the manifest tells the right hashes.

    Args:
        bundle: What to begin from.
        folder: Where to.
        files: Content by path; each must be a file of the bundle.
        edit: Changes the manifest further.
    """
    shutil.copytree(bundle.path, folder)
    content = json.loads((folder / MANIFEST_NAME).read_text())
    for path, data in files.items():
        (folder / path).write_bytes(data)
        for entry in _entries(content):
            if entry["path"] == path:
                entry["sha256"], entry["bytes"] = hashlib.sha256(data).hexdigest(), len(data)
    if edit is not None:
        edit(content)
    (folder / MANIFEST_NAME).write_text(json.dumps(content))
    return folder


def sign_blindly(folder: Path, key: SigningKey) -> None:
    """Sign a bundle that nobody has looked into."""
    signature = key.sign((folder / MANIFEST_NAME).read_bytes())
    (folder / SIGNATURE_NAME).write_bytes(signature.to_bytes())


def moved_outside(model: bytes, name: str, outside: Path, location: str | None = None) -> bytes:
    """The same model with one of its tensors in a file outside.

    Args:
        model: ONNX.
        name: Name of the initializer.
        outside: File for its values.
        location: What the model calls that file; by default its name alone.
    """
    proto = onnx.ModelProto.FromString(model)
    (tensor,) = (item for item in proto.graph.initializer if item.name == name)
    outside.write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location or outside.name)
    return bytes(proto.SerializeToString())


def _entries(content: object) -> list[dict[str, Any]]:
    if isinstance(content, dict):
        own = [content] if {"path", "sha256", "bytes"} <= set(content) else []
        return own + [entry for value in content.values() for entry in _entries(value)]
    if isinstance(content, list):
        return [entry for value in content for entry in _entries(value)]
    return []
