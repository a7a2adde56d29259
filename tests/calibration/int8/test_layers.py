"""Grouping of the quantised inputs into layers, on the exported network."""

import onnx
import pytest

from danet_calibration.images.images import FrameReader, choose_images
from danet_calibration.int8.coverage import measure_coverage
from danet_calibration.int8.layers import find_layers
from danet_calibration.int8.placement import quantise
from danet_calibration.int8.ranges.scales import find_scales
from danet_runtime.bundle import Bundle


@pytest.fixture(scope="module")
def base(exported_bundle):
    bundle = Bundle.open(exported_bundle)
    return bundle.read(bundle.variant("fp16").file)


@pytest.fixture(scope="module")
def inputs(exported_bundle, image_folder):
    bundle = Bundle.open(exported_bundle)
    reader = FrameReader(choose_images(image_folder, 2), (64, 128))
    return find_scales(bundle.read(bundle.variant("fp32").file), reader, "max")


@pytest.fixture(scope="module")
def layers(base, inputs):
    model = onnx.load_from_string(base)
    return find_layers(model, inputs, measure_coverage(model).macs)


def test_every_quantised_input_is_in_exactly_one_layer(layers, inputs):
    held = [(item.node, item.position) for layer in layers for item in layer.inputs]
    assert sorted(held) == sorted((item.node, item.position) for item in inputs)


def test_a_skip_connection_belongs_to_the_convolution_it_is_added_to(base, layers):
    nodes = {node.name: node for node in onnx.load_from_string(base).graph.node}
    with_skip = {
        layer.name
        for layer in layers
        if any(nodes[item.node].op_type == "Add" for item in layer.inputs) and "backbone" in layer.name
    }
    assert {"backbone.layer3.0.conv2", "backbone.layer3.1.conv2", "backbone.layer4.1.conv2"} <= with_skip
    assert all(name.endswith("conv2") for name in with_skip)


def test_pooling_belongs_to_the_convolution_before_it(base, layers):
    nodes = {node.name: node for node in onnx.load_from_string(base).graph.node}
    pooled = [x.name for x in layers if any(nodes[item.node].op_type == "MaxPool" for item in x.inputs)]
    assert pooled == ["backbone.stem.6"]


def test_the_macs_of_the_layers_are_those_on_int8(base, inputs, layers):
    coverage = measure_coverage(quantise(base, inputs))
    assert sum(layer.macs for layer in layers) == coverage.int8_macs > 0
    assert len({layer.name for layer in layers}) == len(layers)


def test_a_layer_alone_is_all_that_computes_on_int8(base, layers):
    for layer in layers[::7]:
        coverage = measure_coverage(quantise(base, layer.inputs))
        assert coverage.int8_macs == layer.macs
