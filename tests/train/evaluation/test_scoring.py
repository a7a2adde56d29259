"""The scores of datasets: bad samples, settings, and the predictions that are kept."""

import cv2
import numpy as np
import pytest
from undecided_network import undecided_network

from danet_train import open_dataset, read_checkpoint
from danet_train.config.sections import EvaluationConfig, Normalisation
from danet_train.data.samples.sample import Dataset, Pair, Splits
from danet_train.errors import DataError, UsageError
from danet_train.evaluation.prediction import predict
from danet_train.evaluation.predictions import prediction_folder
from danet_train.evaluation.scoring import score
from danet_train.training.config import TrainConfig
from danet_train.training.outputs import RunFiles
from danet_train.training.run import train_to_file

NORMALISATION = Normalisation()


@pytest.fixture
def broken(tmp_path):
    """Five samples: a good one, a cut-off image, a label of another size, an unknown label, no label."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (tmp_path / "val" / kind).mkdir(parents=True)
    for name in ("a_good", "b_cut_off", "c_other_size", "d_unknown_label", "e_unlabelled"):
        cv2.imwrite(str(tmp_path / f"val/images/{name}.png"), rng.integers(0, 256, (40, 56, 3)).astype("u1"))
        cv2.imwrite(str(tmp_path / f"val/labels/{name}.png"), rng.integers(0, 5, (40, 56)).astype("u1"))
    cut = tmp_path / "val/images/b_cut_off.png"
    cut.write_bytes(cut.read_bytes()[:-700])
    cv2.imwrite(str(tmp_path / "val/labels/c_other_size.png"), np.zeros((40, 55), "u1"))
    cv2.imwrite(str(tmp_path / "val/labels/d_unknown_label.png"), np.full((40, 56), 77, "u1"))
    (tmp_path / "val/labels/e_unlabelled.png").unlink()
    entries = "".join(f"- {{name: c{index}, color: [{index}, 0, 0]}}\n" for index in range(5))
    (tmp_path / "classes.yaml").write_text(f"classes:\n{entries}")
    return tmp_path


def test_bad_samples_stop_by_name_or_are_left_out_named_and_counted(broken):
    model = undecided_network()
    with pytest.raises(DataError, match=r"e_unlabelled\.png needs"):
        open_dataset(broken, "val")
    dataset = open_dataset(broken, "val", bad_samples="skip")
    with pytest.raises(DataError, match=r"b_cut_off\.png"):
        score(model, dataset, NORMALISATION)
    kept, steps = [], []
    scored = score(
        model,
        dataset,
        NORMALISATION,
        faults="skip",
        keep=lambda name, labels: kept.append((name, labels.shape)),
        advance=lambda: steps.append(1),
    )
    assert kept == [("a_good", (40, 56))]
    assert len(steps) == len(dataset) == 4
    assert scored.samples == 1
    names = [skipped.name for skipped in scored.skipped]
    assert sorted(names) == ["b_cut_off", "c_other_size", "d_unknown_label", "e_unlabelled"]
    for skipped in scored.skipped:
        assert f"{skipped.name}.png" in skipped.why
    np.testing.assert_array_equal(
        scored.matrix.counts, score(model, dataset[:1], NORMALISATION).matrix.counts
    )


def test_a_dataset_of_bad_samples_alone_is_an_error_under_either_policy(broken):
    dataset = open_dataset(broken, "val", bad_samples="skip")[1:3]
    with pytest.raises(DataError, match="none of the 2 samples can be read"):
        score(undecided_network(), dataset, NORMALISATION, faults="skip")


def test_an_evaluation_scores_as_its_settings_say(synthetic_root):
    model, dataset = undecided_network(classes=19), open_dataset(synthetic_root, "val")
    config = EvaluationConfig(mode="slide", window_hw=(33, 41), flip=True)
    expected = sum(
        np.bincount(
            sample.label[sample.label != 255].astype(int) * 19
            + predict(model, sample.image, NORMALISATION, config)[sample.label != 255],
            minlength=361,
        )
        for sample in dataset
    )
    counts = score(model, dataset, NORMALISATION, settings=config).matrix.counts
    np.testing.assert_array_equal(counts.ravel(), expected)
    assert (counts != score(model, dataset, NORMALISATION).matrix.counts).any()


def test_a_training_is_scored_as_its_configuration_says(tmp_path, synthetic_root):
    small = {"base_channels": 4, "stem_channels": 4, "head_channels": 8, "attention_channels": 4}
    config = TrainConfig.model_validate({
        "model": {"depth": 18, **small, "aux_channels": None},
        "augmentation": {"crop_hw": [32, 48]},
        "optimiser": {"kind": "adamw", "lr": 0.01},
        "steps": 2, "batch_size": 2, "device": "cpu", "threads": 1,
        "evaluation": {"mode": "slide", "window_hw": [33, 41], "flip": True},
    })  # fmt: skip
    val = open_dataset(synthetic_root, "val")
    matrix, _ = train_to_file(
        config, Splits(open_dataset(synthetic_root, "train"), val), RunFiles(tmp_path / "c.pt")
    )
    loaded = read_checkpoint(tmp_path / "c.pt")
    again = score(loaded.model, val, loaded.normalisation, settings=config.evaluation).matrix
    np.testing.assert_array_equal(matrix.counts, again.counts)
    assert (matrix.counts != score(loaded.model, val, loaded.normalisation).matrix.counts).any()


def _write_and_fail(write, labels):
    write("city/one", labels)
    raise OSError("the disk is full")


def test_predictions_appear_together_and_other_files_are_never_replaced(tmp_path):
    from danet_train import CITYSCAPES

    target = tmp_path / "out"
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    with pytest.raises(OSError, match="disk"), prediction_folder(target, CITYSCAPES) as write:
        _write_and_fail(write, labels)
    assert list(tmp_path.iterdir()) == []
    for overwrite in (False, True):
        with prediction_folder(target, CITYSCAPES, overwrite=overwrite) as write:
            write("city/one", labels)
    stored = cv2.imread(str(target / "city/one.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, CITYSCAPES.encode(labels))
    with pytest.raises(UsageError, match="--overwrite"), prediction_folder(target, CITYSCAPES):
        pass
    (target / "notes.txt").write_text("mine")
    with (
        pytest.raises(UsageError, match=r"notes\.txt"),
        prediction_folder(target, CITYSCAPES, overwrite=True),
    ):
        pass
    assert (target / "notes.txt").read_text() == "mine"


def test_a_dataset_without_files_is_named(tmp_path):
    from danet_train import CITYSCAPES

    nowhere = Dataset([Pair("x", tmp_path / "x.png", tmp_path / "y.png")], CITYSCAPES)
    with pytest.raises(DataError, match=r"x\.png cannot be read"):
        score(undecided_network(classes=19), nowhere, NORMALISATION)
