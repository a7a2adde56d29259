"""``danet eval`` from the command line to its files, and Cityscapes' own evaluation of what it writes."""

import argparse
import json
from importlib.metadata import version

import cv2
import numpy as np
import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner

from danet_train import CITYSCAPES, open_dataset, read_checkpoint, save_checkpoint
from danet_train.cli.evaluate import evaluate
from danet_train.config.sections import EvaluationConfig
from danet_train.data.torch_samples import normalise
from danet_train.errors import ConfigError, DataError, OutOfMemoryError, UsageError
from danet_train.evaluation.prediction import predict


def _run(*arguments):
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _scored(tmp_path, *arguments):
    result = _run(*arguments, "--device", "cpu", "--json", tmp_path / "scores.json")
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output, json.loads((tmp_path / "scores.json").read_text())


def _official(predictions, labels):
    """Cityscapes' own scores of a folder of predictions, found by cityscapesScripts itself."""
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as Official

    args = argparse.Namespace(**vars(Official.args))
    args.evalInstLevelScore, args.JSONOutput, args.quiet = False, False, True
    args.predictionPath, args.predictionWalk, args.avgClassSize = str(predictions), None, {}
    truth = [str(path) for path in sorted(labels)]
    found = [Official.getPrediction(args, path) for path in truth]
    return Official.evaluateImgLists(found, truth, args)


def _agrees_with_cityscapes(record, predictions, labels):
    official = _official(predictions, labels)
    assert record["miou"] == pytest.approx(official["averageScoreClasses"], abs=1e-9)
    for name, iou in record["iou"].items():
        expected = official["classScores"][name]
        assert (iou is None) == np.isnan(expected)
        assert iou is None or iou == pytest.approx(expected, abs=1e-9)
    assert len(set(record["iou"].values())) > 3


@pytest.fixture(scope="module")
def undecided(tmp_path_factory, checkpoint_file, synthetic_root):
    """A checkpoint that favours no class everywhere, so that its predictions hold many."""
    loaded = read_checkpoint(checkpoint_file)
    pixels = normalise(open_dataset(synthetic_root, "val")[0].image, loaded.normalisation)
    with torch.no_grad():
        logits, classifier = loaded.model(pixels[None]), loaded.model.decode_head.conv_seg
        spread = logits.std(dim=(0, 2, 3))
        classifier.bias.sub_(logits.mean(dim=(0, 2, 3))).div_(spread)
        classifier.weight.div_(spread[:, None, None, None])
    path = tmp_path_factory.mktemp("undecided") / "c.pt"
    save_checkpoint(path, loaded.model, classes=CITYSCAPES)
    return path


@pytest.mark.slow
def test_scores_are_those_that_cityscapes_own_evaluation_gives_the_predictions(
    tmp_path, undecided, synthetic_root
):
    folder = tmp_path / "predictions"
    output, record = _scored(
        tmp_path, undecided, "--data", synthetic_root, "--mode", "slide", "--window", 49,
        "--scales", "0.75,1", "--flip", "--predictions", folder,
    )  # fmt: skip
    _agrees_with_cityscapes(record, folder, (synthetic_root / "gtFine/val").rglob("*_labelIds.png"))
    assert f"mIoU {100 * record['miou']:.2f}" in output
    assert "over 3 samples; windows of 49x49, stride 33x33, scales 0.75, 1, with mirror images" in output


@pytest.mark.slow
def test_scores_on_real_frames_are_those_of_cityscapes_own_evaluation(tmp_path, undecided, shared_data):
    root, folder = tmp_path / "root", tmp_path / "predictions"
    for kind in ("leftImg8bit", "gtFine"):
        city = root / kind / "train" / "aachen"
        city.mkdir(parents=True)
        source = shared_data / "cityscapes_mini" / kind / "train" / "aachen"
        for path in sorted(source.glob("*_000019_*"))[:2]:
            (city / path.name).symlink_to(path)
    _, record = _scored(
        tmp_path,
        undecided,
        "--data",
        root,
        "--split",
        "train",
        "--base",
        "256x512",
        "--predictions",
        folder,
    )
    _agrees_with_cityscapes(record, folder, (root / "gtFine").rglob("*_labelIds.png"))
    assert record["iou"]["train"] is None or record["iou"]["train"] == 0  # no frame holds one


def test_the_record_says_what_was_scored_and_how(tmp_path, checkpoint_file, synthetic_root):
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({"evaluation": {"mode": "slide", "window_hw": [64, 64], "flip": True}}))
    _, record = _scored(
        tmp_path,
        checkpoint_file,
        "--data",
        synthetic_root,
        "--config",
        config,
        "--no-flip",
        "--stride",
        "40x64",
    )
    assert record["evaluation"] == {
        "mode": "slide", "window_hw": [64, 64], "stride_hw": [40, 64], "scales": [1.0], "flip": False,
        "base_hw": None, "windows_at_once": 1, "protocol": "mmsegmentation",
    }  # fmt: skip
    assert record["checkpoint_sha256"] == read_checkpoint(checkpoint_file).sha256
    assert (record["samples"], record["skipped"], record["device"]) == (3, [], "cpu")
    assert (record["data"], record["split"]) == (str(synthetic_root), "val")
    assert record["versions"]["torch"] == version("torch")
    names = set(CITYSCAPES.names)
    assert set(record["iou"]) == set(record["accuracy"]) == names
    for key in ("miou", "mean_accuracy", "pixel_accuracy", "frequency_weighted_iou"):
        assert 0 < record[key] < 1


def test_the_predictions_are_the_networks_in_the_datasets_values(tmp_path, checkpoint_file, synthetic_root):
    loaded, dataset = read_checkpoint(checkpoint_file), open_dataset(synthetic_root, "val")
    folder = tmp_path / "p"
    result = _run(checkpoint_file, "--data", synthetic_root, "--predictions", folder, "--device", "cpu")
    assert result.exit_code == 0, result.output
    stored = sorted(folder.rglob("*.png"))
    assert [str(path.relative_to(folder).with_suffix("")) for path in stored] == list(dataset.names)
    for path, sample in zip(stored, dataset, strict=True):
        labels = predict(loaded.model, sample.image, loaded.normalisation)
        np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), CITYSCAPES.encode(labels))
    before = [path.read_bytes() for path in stored]
    again = _run(checkpoint_file, "--data", synthetic_root, "--predictions", folder)
    assert isinstance(again.exception, UsageError)
    assert [path.read_bytes() for path in stored] == before
    replaced = _run(checkpoint_file, "--data", synthetic_root, "--predictions", folder, "--overwrite")
    assert replaced.exit_code == 0, replaced.output


def test_a_folder_of_labels_and_a_checkpoint_are_replaced_by_nothing(
    tmp_path, checkpoint_file, synthetic_root
):
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "a.png").write_bytes(b"a label")
    command = (checkpoint_file, "--data", synthetic_root, "--overwrite")
    result = _run(*command, "--predictions", labels)
    assert isinstance(result.exception, UsageError)
    assert (labels / "a.png").read_bytes() == b"a label"
    result = _run(*command, "--json", checkpoint_file)
    assert isinstance(result.exception, UsageError)
    assert "which is read" in str(result.exception)
    (tmp_path / "other.json").write_text("{}")
    result = _run(*command[:-1], "--json", tmp_path / "other.json")
    assert isinstance(result.exception, UsageError)
    assert "--overwrite" in str(result.exception)


def test_a_window_beyond_all_memory_is_told_in_words(tmp_path, checkpoint_file, synthetic_root):
    result = _run(
        checkpoint_file, "--data", synthetic_root, "--device", "cpu", "--mode", "slide",
        "--window", 2000000, "--protocol", "authors",
    )  # fmt: skip
    assert isinstance(result.exception, OutOfMemoryError), result.exception
    assert "--window" in str(result.exception)


def test_the_whole_image_is_scored_unless_asked_otherwise():
    from danet_train.cli.evaluate import _settings

    assert _settings(None, {}) == EvaluationConfig()
    assert _settings("demo", {"flip": True}) == EvaluationConfig(flip=True)


def test_another_window_brings_its_own_stride(tmp_path):
    from danet_train.cli.evaluate import _settings

    config = tmp_path / "run.yaml"
    config.write_text("evaluation: {mode: slide, window_hw: [90, 90], stride_hw: [70, 70]}")
    assert _settings(str(config), {}).stride == (70, 70)
    assert _settings(str(config), {"window_hw": (60, 60)}).stride == (40, 40)


@pytest.fixture
def damaged_root(tmp_path, synthetic_root):
    """The synthetic validation split with one image cut off and one without labels."""
    root = tmp_path / "damaged"
    for path in synthetic_root.rglob("val/**/*.png"):
        target = root / path.relative_to(synthetic_root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    images = sorted((root / "leftImg8bit").rglob("*.png"))
    images[0].write_bytes(images[0].read_bytes()[:-100])
    sorted((root / "gtFine").rglob("*_labelIds.png"))[1].unlink()
    return root


def test_a_bad_sample_stops_the_evaluation_by_name_and_nothing_is_written(
    tmp_path, checkpoint_file, damaged_root
):
    folder, scores = tmp_path / "p", tmp_path / "s.json"
    command = (checkpoint_file, "--data", damaged_root, "--json", scores, "--predictions", folder)
    result = _run(*command)
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == 1
    assert "000001" in str(result.exception)
    assert not folder.exists()
    assert not scores.exists()


def test_skipped_samples_are_named_counted_and_marked(tmp_path, checkpoint_file, damaged_root):
    folder = tmp_path / "p"
    output, record = _scored(
        tmp_path, checkpoint_file, "--data", damaged_root, "--bad-samples", "skip", "--predictions", folder
    )
    assert "ONLY 1 of 3 samples: 2 skipped" in output
    assert record["samples"] == 1
    assert len(record["skipped"]) == 2
    for skipped in record["skipped"]:
        assert f"skipped {skipped['name']}: " in output
        assert skipped["name"].rsplit("/")[-1] in skipped["why"]
    assert len(list(folder.rglob("*.png"))) == 1


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (("--window", "65"), UsageError, "--mode slide"),
        (("--mode", "slide", "--window", "a"), UsageError, "769 or 512x1024"),
        (("--mode", "slide", "--window", "32", "--stride", "40"), ConfigError, "stay unseen"),
        (("--scales", "1,,2"), UsageError, "0.5,0.75,1"),
        (("--scales", "0"), ConfigError, "greater than 0"),
        (("--base", "512"), UsageError, "512x2048"),
        (("--config", "none"), ConfigError, "no configuration 'none'"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_read(tmp_path, arguments, kind, words):
    result = _run(tmp_path / "none.pt", "--data", tmp_path, *arguments)
    assert isinstance(result.exception, kind)
    assert result.exception.exit_code == 2
    assert words in str(result.exception)
