"""Drawn images to calibrate on, bundles for the gate, and labels that come from their FP32 file."""

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from danet_calibration.measure.accuracy import LabelledSet
from danet_calibration.measure.network import Network
from danet_export.frames import pattern
from danet_runtime.bundle import Bundle, write_bundle
from danet_runtime.inference.segmenter import Segmenter
from danet_train.classes import CITYSCAPES
from danet_train.data.datasets.layouts import open_dataset

UNSURE = 0.8
"""Share of pixels without a label: there the two largest logits are so close that rounding decides."""

LEAST_PIXELS = 200
"""Least number of pixels of a class in all labels; with fewer, single pixels decide its IoU."""


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """Eight different pictures of 64x128."""
    folder = tmp_path_factory.mktemp("images")
    for seed in range(8):
        cv2.imwrite(str(folder / f"{seed:02}.png"), pattern((64, 128), seed))
    return folder


@pytest.fixture(scope="session")
def balanced_bundle(exported_bundle, tmp_path_factory):
    """The exported bundle with its classes balanced: several occur, each on many pixels."""
    path = tmp_path_factory.mktemp("balanced") / "bundle"
    return with_balanced_classes(Bundle.open(exported_bundle), path)


@pytest.fixture(scope="session")
def labelled(balanced_bundle, tmp_path_factory):
    """A data set labelled by that bundle's FP32 file where it is sure, with 255 elsewhere."""
    root = tmp_path_factory.mktemp("labelled")
    for kind in ("images", "labels"):
        (root / "val" / kind).mkdir(parents=True)
    network = Network(onnx.load_from_string(balanced_bundle.read(balanced_bundle.variant("fp32").file)))
    drawn = []
    for seed in range(3):
        image = pattern((64, 128), 50 + seed)
        labels, logits = network(image)
        largest = np.sort(logits, axis=0)
        margin = cv2.resize(largest[-1] - largest[-2], (128, 64), interpolation=cv2.INTER_LINEAR)
        labels[margin < np.quantile(margin, UNSURE)] = 255
        drawn.append((image, labels))
    counts = np.bincount(np.concatenate([labels.ravel() for _, labels in drawn]), minlength=256)
    for seed, (image, labels) in enumerate(drawn):
        labels[counts[labels] < LEAST_PIXELS] = 255
        cv2.imwrite(str(root / f"val/images/{seed}.png"), image)
        cv2.imwrite(str(root / f"val/labels/{seed}.png"), labels)
    entries = [
        f"  - {{name: {n}, color: {list(c)}}}"
        for n, c in zip(CITYSCAPES.names, CITYSCAPES.colors, strict=True)
    ]
    (root / "classes.yaml").write_text("classes:\n" + "\n".join(entries) + "\n")
    return LabelledSet("own labels", open_dataset(root, "val"))


@pytest.fixture(scope="session")
def uneven_bundle(balanced_bundle, tmp_path_factory):
    """The balanced bundle, of the same function, with one layer that INT8 ruins: layer4.1.conv2."""
    return with_uneven_channels(
        balanced_bundle, "backbone.layer4.1", tmp_path_factory.mktemp("uneven") / "bundle"
    )


def with_balanced_classes(source, path):
    """Give every class of a random network the same mean logit, so that no single class takes every pixel."""
    network = Network(onnx.load_from_string(source.read(source.variant("fp32").file)))
    logits = [network(pattern((64, 128), 200 + seed))[1] for seed in range(4)]
    means = np.mean(logits, axis=(0, 2, 3))

    def shift(model):
        classifier = _reading(model, "network.decode_head.conv_seg.weight")
        _change(model, classifier.input[2], lambda bias: bias - means)

    return _altered(source, path, shift)


def with_uneven_channels(source, block, path, exponent=7):
    """Scale the channels between the two convolutions of a residual block, every other one up and down.

    The first convolution's output channels are multiplied by powers of two and the second's input channels
    divided by them; the ReLU between them lets positive factors through. Powers of two change no mantissa, so
    FP32 and FP16 compute the same labels, but one scale for the activation would need 2 * exponent more bits
    than INT8 has.

    Args:
        source: Has FP32 and FP16.
        block: Name of the block, as ``backbone.layer2.0``.
        path: Path of the new bundle.
        exponent: Exponent of the factors 2^exponent and 2^-exponent.
    """

    def rescale(model):
        first = _reading(model, f"network.{block}.conv1.weight")
        second = _reading(model, f"network.{block}.conv2.weight")
        channels = next(t for t in model.graph.initializer if t.name == first.input[1]).dims[0]
        factors = np.where(np.arange(channels) % 2, 2.0**exponent, 2.0**-exponent)
        _change(model, first.input[1], lambda weight: weight * factors[:, None, None, None])
        _change(model, first.input[2], lambda bias: bias * factors)
        _change(model, second.input[1], lambda weight: weight / factors[None, :, None, None])

    return _altered(source, path, rescale)


def _altered(source, path, alter):
    """The bundle with every model altered, and its golden labels those of the altered FP32 file."""
    manifest = source.manifest
    with write_bundle(path) as writer:
        for ref in manifest.files():
            writer.copy(source, ref)
        variants = {}
        for precision, variant in manifest.variants.items():
            model = onnx.load_from_string(source.read(variant.file))
            alter(model)
            file = writer.add(variant.file.path, model.SerializeToString())
            variants[precision] = variant.model_copy(update={"file": file})
        manifest = manifest.model_copy(update={"variants": variants})
        with Segmenter(writer.preview(manifest), "fp32") as segmenter:
            labels = segmenter.labels_of(cv2.imread(str(source.path / manifest.golden.frame.path)))
        golden = writer.add(manifest.golden.labels.path, cv2.imencode(".png", labels)[1].tobytes())
        # A random network is unsure of every other pixel; of a trained one 95 % are asked.
        agreement = {**manifest.golden.agreement, "int8": 0.5}
        held = manifest.golden.model_copy(update={"labels": golden, "agreement": agreement})
        manifest = manifest.model_copy(update={"golden": held})
        writer.finish(manifest)
    return Bundle.open(path)


def _reading(model, weight):
    return next(node for node in model.graph.node if weight in node.input)


def _change(model, name, change):
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    old = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(change(old).astype(old.dtype), name))
