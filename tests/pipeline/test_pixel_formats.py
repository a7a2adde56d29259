"""Bundles for nv12 and uyvy, the whole way: export, golden frame, run, profile, compare, engine."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mask_files import labels_in
from typer.testing import CliRunner

from danet_export.frames import pattern
from danet_export.graph.geometry import plan_geometry
from danet_export.pipeline import export_bundle
from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.bundle.golden import golden_frame
from danet_runtime.cli.app import build_app
from danet_runtime.errors import UsageError
from danet_runtime.frames.color import to_bgr, to_pixel_format
from danet_runtime.frames.pixel_formats import Pixels
from danet_train.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen

SIZES = {"nv12": (192, 128), "uyvy": (128, 256)}
"""Size of the picture that holds the golden frame, for frames of 128x128."""


def danet(*arguments: object) -> str:
    done = CliRunner().invoke(build_app(), [str(argument) for argument in arguments])
    shown = done.output + (repr(done.exception) if done.exception else "")
    assert done.exit_code == 0, shown
    return shown


@pytest.fixture(scope="module", params=["nv12", pytest.param("uyvy", marks=pytest.mark.slow)], name="bundle")
def exported(
    request: pytest.FixtureRequest, checkpoint_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    path = tmp_path_factory.mktemp(request.param) / "bundle"
    loaded = read_checkpoint(checkpoint_file)
    assert loaded.classes is not None
    geometry = plan_geometry((64, 128), (128, 128), pixels=Pixels(request.param))
    export_bundle(loaded, loaded.classes, geometry, lambda size_hw: [pattern(size_hw, 0)], path)
    return Bundle.open(path)


def test_the_manifest_says_the_format_and_the_golden_frame_is_its_bytes(bundle: Bundle) -> None:
    spec = bundle.manifest.frame
    assert (spec.color, spec.range, spec.size_hw) == ("bt601", "limited", (128, 128))
    stored = cv2.imread(str(bundle.path / "golden" / "frame.png"), cv2.IMREAD_UNCHANGED)
    assert stored.shape == SIZES[spec.pixel_format]
    frame, labels = golden_frame(bundle)
    np.testing.assert_array_equal(frame.ravel(), stored.ravel())
    expected = to_pixel_format(pattern((128, 128), 0), spec.pixels)
    np.testing.assert_array_equal(frame, expected)
    for precision, least in (("fp32", 0.999), ("fp16", 0.99)):
        with Segmenter(bundle, precision) as segmenter:
            assert np.mean(segmenter.labels_of(frame) == labels) >= least
    assert (
        spec.pixel_format in json.loads((bundle.path / "reports" / "parity.json").read_text())["pixel_format"]
    )


def test_every_command_takes_the_bundle(bundle: Bundle, tmp_path: Path) -> None:
    spec = bundle.manifest.frame
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), pattern((128, 128), number))
    assert "agreement with its labels" in danet("profile", bundle.path, "--frames", 2, "--warmup", 0)
    danet("run", bundle.path, tmp_path, "--masks", tmp_path / "masks")
    out = tmp_path / "compared"
    danet("compare", bundle.path, "--data", tmp_path, "-o", out, "--b", "onnxruntime:fp16", "--least", 0.98)
    with Segmenter(bundle) as segmenter:
        for number in range(3):
            mask = labels_in(tmp_path / "masks" / f"{number}.png")
            native = to_pixel_format(pattern((128, 128), number), spec.pixels)
            np.testing.assert_array_equal(mask, segmenter.labels_of(native))
    assert len(np.unique(mask)) >= 2


def test_the_labels_are_those_of_the_picture_and_not_of_its_bytes(
    bundle: Bundle, exported_bundle: Path
) -> None:
    """The bgr bundle of the same checkpoint sees the same scene at its own size."""
    native = to_pixel_format(pattern((128, 128), 7), bundle.manifest.frame.pixels)
    bgr = cv2.resize(to_bgr(native, bundle.manifest.frame.pixels), (128, 64), interpolation=cv2.INTER_AREA)
    with Segmenter(bundle) as one, Segmenter(exported_bundle) as other:
        labels = cv2.resize(one.labels_of(native), (128, 64), interpolation=cv2.INTER_NEAREST_EXACT)
        assert np.mean(labels == other.labels_of(bgr)) > 0.9


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_for_rtx_builds_it(bundle: Bundle, precision: str) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    from danet_runtime.tensorrt.build.rtx_builder import build_engine

    built = build_engine(bundle.read(bundle.variant(precision).file), ["sm_89"])
    assert len(built.plan) > 10_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--size", "769x769", "--pixel-format", "nv12"), "height and width must be even (got 769x769)"),
        (("--size", "64x128", "--frame-size", "64x129", "--pixel-format", "uyvy"), "the width must be even"),
        (("--size", "64x128", "--color", "bt709"), "leave them out for bgr"),
        (("--size", "64x128", "--range", "full"), "leave them out for bgr"),
    ],
)
def test_a_format_that_cannot_be_is_refused_before_anything_is_written(
    checkpoint_file: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = CliRunner().invoke(
        build_app(), ["export", str(checkpoint_file), "-o", str(tmp_path / "b"), *arguments]
    )
    assert isinstance(done.exception, UsageError)
    assert words in str(done.exception)
    assert not (tmp_path / "b").exists()


def test_the_command_records_matrix_and_range(checkpoint_file: Path, tmp_path: Path) -> None:
    options = ("--pixel-format", "nv12", "--color", "bt709", "--range", "full")
    danet("export", checkpoint_file, "-o", tmp_path / "b", "--size", "64x128", *options)
    assert Bundle.open(tmp_path / "b").manifest.frame.pixels == Pixels("nv12", "bt709", "full")
