"""The metadata of the exported files says what the manifest says, and a viewer finds all of it."""

import json

import onnx
import onnxruntime
import pytest

from danet_export.graph.geometry import plan_geometry
from danet_export.graph.metadata import describe
from danet_runtime.bundle import Bundle
from danet_runtime.frames.pixel_formats import Pixels
from danet_train.classes import find_classes


@pytest.fixture(scope="module")
def bundle(exported_bundle):
    return Bundle.open(exported_bundle)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_each_exported_file_names_classes_palette_pixels_sizes_and_version(bundle, precision):
    manifest = bundle.manifest
    model = onnx.load_from_string(bundle.read(bundle.variant(precision).file))
    held = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(held["danet.classes"]) == [entry.name for entry in manifest.classes]
    assert json.loads(held["danet.palette"]) == [list(entry.color) for entry in manifest.classes]
    assert held["danet.pixel_format"] == manifest.frame.pixel_format == "bgr"
    assert held["danet.frame_size"] == "x".join(map(str, manifest.frame.size_hw)) == "64x128"
    assert held["danet.model_size"] == "x".join(map(str, manifest.model.size_hw))
    assert held["danet.fit"] == manifest.model.fit
    assert held["danet.version"] == manifest.provenance.tools["danet-export"]
    assert held["danet.schema"] == str(manifest.schema_version)


def test_the_file_alone_tells_onnx_runtime_its_classes(bundle):
    session = onnxruntime.InferenceSession(
        bundle.read(bundle.variant("fp32").file), providers=["CPUExecutionProvider"]
    )
    held = session.get_modelmeta().custom_metadata_map
    assert json.loads(held["danet.classes"])[0] == "road"


def test_the_matrix_and_the_levels_are_told_of_luma_and_chroma_alone():
    classes = find_classes("camvid")
    metadata = describe(
        classes, plan_geometry((64, 128), (96, 192), "letterbox", None, Pixels("nv12", "bt709"))
    )
    assert (metadata["danet.pixel_format"], metadata["danet.color"], metadata["danet.range"]) == (
        "nv12",
        "bt709",
        "limited",
    )
    assert (metadata["danet.frame_size"], metadata["danet.model_size"]) == ("96x192", "64x128")
    assert not {"danet.color", "danet.range"} & set(describe(classes, plan_geometry((64, 128))))
