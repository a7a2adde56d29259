"""``danet compare``: a report, a table, pictures, and a gate."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from danet_command import DANET
from layout_trees import TREES
from onnx import numpy_helper
from small_disk import can_mount, on_small_disk
from typer.testing import CliRunner, Result

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle, Quantisation, Variant, write_bundle
from danet_runtime.cli.app import build_app
from danet_runtime.cli.commands import compare
from danet_runtime.comparison import comparison, ground_truth
from danet_runtime.errors import AgreementError, SourceError, SourceTruncatedError, UsageError
from danet_train.data.datasets.cityscapes import Cityscapes
from danet_train.data.datasets.membership import pictures_of_split


def without_cars(data: bytes) -> bytes:
    """The model with another bias: it never says car."""
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if tensor.name == "bias":
            bias = numpy_helper.to_array(tensor).copy()
            bias[3] = -1e9
            tensor.CopyFrom(numpy_helper.from_array(bias, "bias"))
    return model.SerializeToString()


@pytest.fixture(scope="module")
def two_variants(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose int8 variant knows no cars."""
    path = tmp_path_factory.mktemp("two") / "bundle"
    with write_bundle(path) as writer:
        for ref in bundle.manifest.files():
            writer.copy(bundle, ref)
        model = writer.add("model.int8.onnx", without_cars(bundle.read(bundle.variant("fp32").file)))
        quantisation = Quantisation(
            method="max",
            calibration_frames=8,
            calibration_sha256="0" * 64,
            conv_mac_share_int8=0.875,
            quantize_nodes=1,
        )
        int8 = Variant(file=model, opset=18, quantisation=quantisation)
        variants = {**bundle.manifest.variants, "int8": int8}
        writer.finish(bundle.manifest.model_copy(update={"variants": variants}))
    return Bundle.open(path)


@pytest.fixture
def images(tmp_path: Path, picture_maker: Callable[..., np.ndarray]) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"street_{number}.png"), picture_maker(48, 64, 5 * number))
    return folder


def danet(*arguments: object) -> Result:
    return CliRunner().invoke(build_app(), [str(argument) for argument in arguments])


def test_the_report_tells_what_the_two_variants_really_give(
    two_variants: Bundle, images: Path, tmp_path: Path
) -> None:
    done = danet("compare", two_variants.path, "--data", images, "--worst", 2, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    equal = []
    with Segmenter(two_variants, "fp32") as one, Segmenter(two_variants, "int8") as other:
        for file in sorted(images.iterdir()):
            frame = cv2.imread(str(file))
            equal.append(float((one.labels_of(frame) == other.labels_of(frame)).mean()))
    assert report["agreement"]["overall"] == pytest.approx(np.mean(equal))
    assert report["agreement"]["frame_min"] == pytest.approx(min(equal))
    assert 0 < min(equal) < 1
    assert report["iou"]["car"] == 0.0
    assert report["confusions"][0]["a"] == "car"
    assert report["bundle"]["sha256"] == two_variants.sha256
    assert (report["a"]["name"], report["b"]["name"]) == ("onnxruntime:fp32", "onnxruntime:int8")
    assert report["b"]["backend"]["precision"] == "int8"
    assert [report[side]["conv_mac_share_int8"] for side in "ab"] == [0.0, 0.875]
    assert (report["least"], report["passed"]) == (None, None)
    assert [entry["agreement"] for entry in report["worst"]] == pytest.approx(sorted(equal)[:2])
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {"comparison.json", "worst_01.png", "worst_02.png"}
    assert cv2.imread(str(tmp_path / "out" / "worst_01.png")).shape[1] > 1000
    for word in ("B: 87.5% of the convolution MACs on INT8", "worst frame", "car", "mean", "6 frames"):
        assert word in done.output


def test_of_a_folder_only_the_pictures_that_are_taken_are_decoded(
    two_variants: Bundle, images: Path, tmp_path: Path
) -> None:
    (images / "street_0.png").write_bytes(b"no picture at all")
    command = ("compare", two_variants.path, "--data", images, "-o", tmp_path / "out")
    assert danet(*command, "--frames", 3).exit_code == 0
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert {entry["name"] for entry in report["worst"]} <= {f"street_{number}.png" for number in (1, 3, 5)}
    assert [entry["name"] for entry in report["per_frame"]] == [
        f"street_{number}.png" for number in (1, 3, 5)
    ]
    assert isinstance(danet(*command, "--overwrite").exception, SourceError)


def test_cityscapes_own_layout_is_taken_without_its_labels(
    two_variants: Bundle, images: Path, tmp_path: Path
) -> None:
    root = tmp_path / "cityscapes"
    for number, city in enumerate(("aachen", "bochum")):
        for kind in ("leftImg8bit", "gtFine"):
            (root / kind / "val" / city).mkdir(parents=True)
        (images / f"street_{number}.png").rename(root / "leftImg8bit" / "val" / city / f"{city}.png")
        cv2.imwrite(str(root / "gtFine" / "val" / city / f"{city}.png"), np.zeros((9, 9), np.uint8))
    for number, folder in enumerate((root, root / "leftImg8bit" / "val")):
        out = tmp_path / f"out{number}"
        done = danet("compare", two_variants.path, "--data", folder, "-o", out)
        assert done.exit_code == 0, done.output
        report = json.loads((out / "comparison.json").read_text())
        assert {entry["name"] for entry in report["worst"]} == {"aachen.png", "bochum.png"}


def test_of_cityscapes_one_split_is_taken_val_unless_another_is_named(
    two_variants: Bundle, images: Path, tmp_path: Path
) -> None:
    frames = tmp_path / "cityscapes" / "leftImg8bit"
    for number, split in enumerate(("test", "train", "val")):
        (frames / split / "city").mkdir(parents=True)
        (images / f"street_{number}.png").rename(frames / split / "city" / f"{split}.png")
    out = tmp_path / "out"
    command = ("compare", two_variants.path, "-o", out, "--overwrite")
    for folder in (frames.parent, frames):
        for options, split in (((), "val"), (("--split", "train"), "train")):
            done = danet(*command, "--data", folder, *options)
            assert done.exit_code == 0, done.output
            report = json.loads((out / "comparison.json").read_text())
            assert [entry["name"] for entry in report["per_frame"]] == [f"{split}.png"]
            assert report["source"]["path"] == str(frames / split)
    for options, message in (
        (("--data", frames, "--split", "vale"), "expected one of: test, train, val"),
        (("--data", images, "--split", "val"), "leave it out"),
    ):
        assert message in str(danet(*command, *options).exception)
    (frames / "val").rename(tmp_path / "val")
    assert "name one with --split" in str(danet(*command, "--data", frames.parent).exception)


@pytest.mark.parametrize("kind", [kind for kind in TREES if kind != "cityscapes"])
def test_of_a_data_set_that_training_knows_one_split_is_taken_without_its_labels(
    two_variants: Bundle, tmp_path: Path, kind: str
) -> None:
    tree = TREES[kind](tmp_path / "set")
    command = ("compare", two_variants.path, "--data", tree.root, "-o", tmp_path / "out", "--overwrite")
    for options, files in (((), tree.val), (("--split", "train"), tree.train)):
        done = danet(*command, *options)
        assert done.exit_code == 0, done.output
        report = json.loads((tmp_path / "out" / "comparison.json").read_text())
        assert sorted(entry["name"] for entry in report["per_frame"]) == sorted(file.name for file in files)
    assert "no split 'vale'" in str(danet(*command, "--split", "vale").exception)


def test_pictures_of_a_data_set_show_its_ground_truth(
    two_variants: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    picture_maker: Callable[..., np.ndarray],
) -> None:
    offered = EntryPoint(
        "train", "danet_train.data.datasets.ground_truth:ground_truth_of", ground_truth.GROUND_TRUTH_GROUP
    )
    monkeypatch.setattr(ground_truth, "entry_points", lambda group: [offered])
    for kind, pixels in (("images", picture_maker(48, 64)), ("labels", np.full((48, 64), 2, np.uint8))):
        (tmp_path / "set" / "val" / kind).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "set" / "val" / kind / "street.png"), pixels)
    names = [(entry.name, entry.color) for entry in two_variants.manifest.classes]
    lines = "".join(f"  - {{name: {name}, color: {list(color)}}}\n" for name, color in names)
    (tmp_path / "set" / "classes.yaml").write_text(f"classes:\n{lines}")
    done = danet("compare", two_variants.path, "--data", tmp_path / "set", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    drawn = cv2.imread(str(tmp_path / "out" / "worst_01.png"))
    assert drawn.shape[1] == 3 * 512 + 4 * 8
    sky = two_variants.manifest.classes[2].color[::-1]
    assert (drawn[30:414, 8 + 512 + 8 : 8 + 512 + 8 + 512] == sky).all()


def test_what_the_command_knows_of_cityscapes_is_what_training_knows(tmp_path: Path) -> None:
    tree = TREES["cityscapes"](tmp_path)
    layout = Cityscapes()
    assert layout.locate(tmp_path) == tmp_path
    assert layout.find_split(tmp_path, "val").images == tmp_path / compare._CITYSCAPES_FRAMES / "val"
    assert set(layout.splits(tmp_path)) <= set(compare._CITYSCAPES_SPLITS)
    folder, pictures = pictures_of_split(tmp_path) or (None, [])
    assert (folder, pictures) == (tmp_path / "leftImg8bit" / "val", sorted(tree.val))


@pytest.mark.parametrize(("least", "code"), [(0.5, 0), (0.9999, 1)])
def test_the_gate_decides_the_exit_code_and_the_report_is_there_either_way(
    two_variants: Bundle, images: Path, tmp_path: Path, least: float, code: int
) -> None:
    done = danet("compare", two_variants.path, "--data", images, "--least", least, "-o", tmp_path / "out")
    assert done.exit_code == code
    assert isinstance(done.exception, AgreementError) == bool(code)
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["passed"] is not bool(code)


def test_a_variant_compared_with_itself_agrees_and_gives_no_pictures(
    bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path]
) -> None:
    command = ("compare", bundle.path, "--b", "onnxruntime:fp32", "--least", 1, "-o", tmp_path / "out")
    done = danet(*command, "--data", video_maker(tmp_path / "in.mp4", 12), "--frames", 4)
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [entry["frame"] for entry in report["per_frame"]] == [2, 5, 8, 11]
    assert report["worst"] == []
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["comparison.json"]


def test_what_cannot_be_compared_is_refused_before_any_work(
    bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ("compare", bundle.path, "--data", images, "-o", out)
    for extra, message in (
        ((), "no int8 variant"),
        (("--b", "int8"), "--b must be BACKEND:PRECISION"),
        (("--b", "abacus:fp32"), "no backend is called 'abacus'"),
    ):
        done = danet(*command, *extra)
        assert isinstance(done.exception, UsageError)
        assert message in str(done.exception)
    out.mkdir()
    (out / "mine.txt").touch()
    for extra in ((), ("--overwrite",)):
        done = danet(*command, "--b", "onnxruntime:fp32", *extra)
        assert isinstance(done.exception, UsageError)
    assert [file.name for file in out.iterdir()] == ["mine.txt"]


def full_disk(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_without_room_for_the_report_is_told_before_any_frame(
    bundle: Bundle, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "out"
    command = ("compare", bundle.path, "--data", images, "--b", "onnxruntime:fp32", "-o", out)
    monkeypatch.setattr("danet_runtime.files.atomic.os.posix_fallocate", full_disk)
    monkeypatch.setattr(comparison, "compare", None)
    done = danet(*command)
    assert isinstance(done.exception, OSError)
    assert done.exception.filename == str(out)
    assert not out.parent.exists()


@pytest.mark.skipif(not can_mount(), reason="mounting a small tmpfs is not permitted here")
def test_a_disk_that_fills_up_is_told_with_its_place_and_what_to_do(
    two_variants: Bundle, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "small").mkdir()
    out = tmp_path / "small" / "out"
    wrapper = on_small_disk(24, tmp_path / "small", tmp_path / "kept")
    command = (
        *DANET,
        "compare",
        two_variants.path,
        "--data",
        images,
        "-o",
        out,
    )
    done = subprocess.run([*wrapper, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    expected = f"danet: error: {out}: No space left on device; make room there, or give another path"
    assert expected in done.stderr
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_video_that_breaks_off_leaves_no_report(
    bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path]
) -> None:
    video = video_maker(tmp_path / "in.avi", 40)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    command = ("compare", bundle.path, "--data", video, "--frames", 100, "--b", "onnxruntime:fp32")
    done = danet(*command, "-o", tmp_path / "out")
    assert isinstance(done.exception, SourceTruncatedError), done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.avi"]
