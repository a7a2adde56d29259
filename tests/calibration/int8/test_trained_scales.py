"""Scales that a network was fine-tuned with, from the checkpoint over the bundle to the INT8 file."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from danet_calibration.images.images import FrameReader, choose_images
from danet_calibration.int8.placement import quantise
from danet_calibration.int8.ranges.scales import find_scales
from danet_export.errors import ExportError
from danet_export.frames import pattern
from danet_export.graph.geometry import plan_geometry
from danet_export.graph.onnx_model import to_onnx
from danet_export.graph.trained_scales import locate_scales
from danet_export.graph.wrapper import ExportedDANet
from danet_export.pipeline import export_bundle
from danet_runtime.bundle import Bundle, parse_manifest
from danet_train import Normalisation, build_model, read_checkpoint, save_checkpoint
from danet_train.data.torch_samples import normalise
from danet_train.evaluation.prediction import predict
from danet_train.quantisation.activations import quantised_activations
from danet_train.quantisation.network import QuantisedNetwork
from danet_train.quantisation.trained_scales import read_trained_scales

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen

SIZE = (64, 128)
GEOMETRY = plan_geometry(SIZE)


def frames(seeds):
    return [pattern(SIZE, seed) for seed in seeds]


@pytest.fixture(scope="module")
def network(checkpoint_file):
    """The fake-quantised network of the small checkpoint, its scales found on frames and then disturbed."""
    loaded = read_checkpoint(checkpoint_file)
    network = QuantisedNetwork(loaded.model, percentile=99.9)
    network.calibrate([normalise(frame, loaded.normalisation)[None] for frame in frames(range(4))])
    generator = np.random.default_rng(0)
    network.set_scales({n: s * float(generator.uniform(0.3, 0.6)) for n, s in network.scales().items()})
    network.round_scales()
    return network


@pytest.fixture(scope="module")
def bundle(network, checkpoint_file, tmp_path_factory):
    """The bundle that `danet export` writes for a checkpoint with those scales."""
    folder = tmp_path_factory.mktemp("trained")
    classes = read_checkpoint(checkpoint_file).classes
    save_checkpoint(folder / "q.pt", network.plain_model(), classes=classes, scales=network.scales())
    loaded = read_checkpoint(folder / "q.pt")
    export_bundle(loaded, classes, GEOMETRY, lambda _: frames(range(2)), folder / "bundle")
    return Bundle.open(folder / "bundle")


@pytest.fixture(scope="module")
def trained(bundle):
    assert bundle.manifest.trained_scales is not None
    return read_trained_scales(bundle.read(bundle.manifest.trained_scales))


def found_by_modelopt(fp32, image_folder, count=1):
    return find_scales(fp32, FrameReader(choose_images(image_folder, count), SIZE), "max")


@pytest.fixture(scope="module")
def calibrated(bundle, image_folder):
    return found_by_modelopt(bundle.read(bundle.variant("fp32").file), image_folder, 8)


def test_the_trained_inputs_are_exactly_those_that_modelopt_quantises(trained, calibrated):
    assert set(trained) == {(item.node, item.position) for item in calibrated if item.scale.ndim == 0}
    assert len(trained) > 25


def test_readers_of_one_tensor_have_one_scale(bundle, trained):
    model = onnx.load_from_string(bundle.read(bundle.variant("fp16").file))
    inputs = {node.name: node.input for node in model.graph.node}
    scales = {}
    for (node, position), scale in trained.items():
        scales.setdefault(inputs[node][position], set()).add(scale)
    assert all(len(held) == 1 for held in scales.values())
    assert len(scales) < len(trained)


def int8_labels(bundle, inputs, pictures):
    model = quantise(bundle.read(bundle.variant("fp16").file), inputs)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"frame": frame[None]})[0] for frame in pictures])


def test_the_int8_file_gives_the_labels_of_the_network_that_was_trained(bundle, network, trained, calibrated):
    pictures = frames(range(100, 106))
    with_trained = [
        replace(item, scale=np.asarray(trained[item.node, item.position], np.float32))
        if item.scale.ndim == 0
        else item
        for item in calibrated
    ]
    expected = np.stack([predict(network.model.eval(), frame, Normalisation()) for frame in pictures])
    agreement = (int8_labels(bundle, with_trained, pictures) == expected).mean()
    of_others = (int8_labels(bundle, calibrated, pictures) == expected).mean()
    assert agreement > 0.99
    assert of_others < agreement - 0.01  # the scales matter: other scales give other labels
    assert len(np.unique(expected)) >= 3


def test_floating_point_files_are_those_of_the_checkpoint_without_scales(bundle, exported_bundle):
    without = Bundle.open(exported_bundle)
    assert without.manifest.trained_scales is None
    assert '"trained_scales": null' in without.manifest.to_json()
    for precision in ("fp32", "fp16"):
        assert bundle.variant(precision).file.sha256 == without.variant(precision).file.sha256


def test_a_manifest_that_was_written_before_there_were_trained_scales_is_read(exported_bundle):
    text = (exported_bundle / "manifest.json").read_text()
    older = text.replace('  "trained_scales": null,\n', "")
    assert older != text
    assert parse_manifest(older, "m").trained_scales is None


def test_a_scale_without_a_place_in_the_model_is_an_export_error(bundle, network):
    model = onnx.load_from_string(bundle.read(bundle.variant("fp32").file))
    for node in model.graph.node:
        if "network.backbone.layer2.0.conv2.weight" in node.input:
            node.input[1] = "another"
    with pytest.raises(ExportError, match=r"layer2\.0\.conv2\.weight"):
        locate_scales(model, network.plain_model(), network.scales())


@pytest.mark.parametrize(
    ("depth", "options"),
    [
        (18, {"base_channels": 4, "stem_channels": 4, "head_channels": 8}),
        (18, {"base_channels": 4, "stem_channels": 16, "head_channels": 20}),
        (34, {"base_channels": 32, "stem_channels": 32, "head_channels": 96}),
        (50, {"base_channels": 4, "stem_channels": 8, "head_channels": 32}),
        (50, {"base_channels": 16, "stem": "plain", "stem_channels": 16, "cam": False}),
        (18, {"base_channels": 16, "stem": "plain", "stem_channels": 16, "pam": False}),
        (18, {"base_channels": 16, "stem_channels": 32, "pam": False, "cam": False}),
    ],
    ids=str,
)
def test_the_placement_is_modelopts_for_every_kind_of_network(depth, options, image_folder):
    torch.manual_seed(0)
    options = {"head_channels": 32, "attention_channels": 4, "aux_channels": None, **options}
    model = build_model(depth, **options).eval()
    exported = ExportedDANet(model, GEOMETRY, (120.0,) * 3, (60.0,) * 3, torch.float32)
    onnx_model = to_onnx(exported, GEOMETRY)
    scales = {activation.name: 1.0 for activation in quantised_activations(model)}
    located = {(entry.node, entry.position) for entry in locate_scales(onnx_model, model, scales)}
    expected = found_by_modelopt(onnx_model.SerializeToString(), image_folder)
    assert located == {(item.node, item.position) for item in expected if item.scale.ndim == 0}
