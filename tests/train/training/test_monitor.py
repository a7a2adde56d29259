"""The curves of a training in TensorBoard, read back from its event files."""

import json
import sys

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator

from danet_train import open_dataset
from danet_train.classes import CITYSCAPES
from danet_train.data.samples.faults import Skipped
from danet_train.data.samples.sample import Splits
from danet_train.errors import InterruptedTrainingError, UsageError
from danet_train.training.config import TrainConfig
from danet_train.training.listeners import Listeners
from danet_train.training.loop import Progress
from danet_train.training.monitor import PICTURES, TensorBoardMonitor, side_by_side
from danet_train.training.outputs import RunFiles
from danet_train.training.run import train_to_file

SMALL = {"base_channels": 4, "stem_channels": 4, "head_channels": 8, "attention_channels": 4}
STEPS = 5


def _config(**changes):
    return TrainConfig.model_validate({
        "model": {"depth": 18, **SMALL, "aux_channels": 4},
        "augmentation": {"crop_hw": [32, 48]},
        "loop": {"evaluate_every": 2, "save_every": 2},
        "steps": STEPS, "batch_size": 2, "device": "cpu", "threads": 1, **changes,
    })  # fmt: skip


@pytest.fixture(scope="module")
def splits(synthetic_root):
    return open_dataset(synthetic_root, "train"), open_dataset(synthetic_root, "val")


def _read(folder):
    events = EventAccumulator(str(folder), size_guidance={SCALARS: 0, IMAGES: 0})
    events.Reload()
    tags = events.Tags()
    scalars = {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in tags["scalars"]}
    points = {tag: [e.step for e in events.Scalars(tag)] for tag in tags["scalars"]}
    images = {tag: [e.step for e in events.Images(tag)] for tag in tags["images"]}
    return scalars, points, images, events


def test_the_curves_are_those_of_the_record(tmp_path, splits):
    train_to_file(_config(), Splits(*splits), RunFiles(tmp_path / "c.pt", tensorboard=tmp_path / "tb"))
    record = json.loads((tmp_path / "c.json").read_text())
    scalars, points, images, events = _read(tmp_path / "tb")
    for point in record["loss_curve"]:
        assert scalars["loss/total"][point["step"]] == pytest.approx(point["loss"], rel=1e-6)
        assert scalars["training/learning_rate"][point["step"]] == pytest.approx(point["lr"], rel=1e-6)
        heads = {name: scalars[f"loss/{name}"][point["step"]] for name in ("fused", "pam", "cam", "aux")}
        total = heads["fused"] + heads["pam"] + heads["cam"] + 0.4 * heads["aux"]
        assert total == pytest.approx(point["loss"], rel=1e-5)
    assert all(value > 0 for value in scalars["training/gradient_norm"].values())
    assert all(value > 0 for value in scalars["training/images_per_second"].values())
    for point in record["val_curve"]:
        assert scalars["validation/miou"][point["step"]] == pytest.approx(point["miou"], rel=1e-6)
    present = {name: iou for name, iou in record["iou"].items() if iou is not None}
    for name, iou in present.items():
        assert scalars[f"validation_iou/{name}"][STEPS] == pytest.approx(iou, rel=1e-5)
    assert all(steps == sorted(set(steps)) for steps in points.values())
    assert images == {f"validation/{name}": [2, 4, 5] for name in splits[1].names[:PICTURES]}
    picture = events.Images(next(iter(images)))[0]
    assert picture.width == 3 * 3 * 128 + 4 * 8  # a panel is three times the size of the scene
    assert picture.height > 3 * 64 + 30


def test_after_a_resume_the_curves_go_on_without_a_step_twice(tmp_path, splits):
    """The run is cut off after step 3, but the state is that of step 2: step 3 is made twice."""

    class CutOffError(Exception):
        pass

    def cut_off(progress):
        if progress.step == 4:
            raise CutOffError

    out, folder = tmp_path / "c.pt", tmp_path / "tb"
    with pytest.raises(CutOffError):
        train_to_file(
            _config(),
            Splits(*splits),
            RunFiles(out, tensorboard=folder),
            listeners=Listeners(on_step=cut_off),
        )
    assert _read(folder)[1]["loss/total"] == [1, 2, 3]
    train_to_file(_config(), Splits(*splits), RunFiles(out, tensorboard=folder, resume=True))
    _, points, images, _ = _read(folder)
    assert points["loss/total"] == [1, 2, 3, 4, 5]
    assert points["validation/miou"] == [2, 4, 5]
    assert all(steps == [2, 4, 5] for steps in images.values())


def test_the_curves_of_another_run_are_replaced_only_where_asked(tmp_path, splits):
    folder = tmp_path / "tb"
    config = _config(steps=1)
    train_to_file(config, Splits(*splits), RunFiles(tmp_path / "a.pt", tensorboard=folder))
    with pytest.raises(UsageError, match="holds the curves of another run"):
        train_to_file(config, Splits(*splits), RunFiles(tmp_path / "b.pt", tensorboard=folder))
    assert not (tmp_path / "b.pt").exists()
    train_to_file(config, Splits(*splits), RunFiles(tmp_path / "b.pt", tensorboard=folder, overwrite=True))
    assert _read(folder)[1]["loss/total"] == [1]


def test_without_the_library_it_is_said_before_training(tmp_path, splits, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"pip install 'danet-train\[tensorboard\]'"):
        train_to_file(
            _config(steps=10**9), Splits(*splits), RunFiles(tmp_path / "c.pt", tensorboard=tmp_path / "tb")
        )
    with pytest.raises(InterruptedTrainingError):  # and without the option it is not needed
        train_to_file(
            _config(),
            Splits(*splits),
            RunFiles(tmp_path / "c.pt"),
            listeners=Listeners(asked_to_stop=lambda: True),
        )


def test_what_is_not_finite_is_no_point_and_left_out_samples_are_counted(tmp_path, splits):
    _, val = splits
    with TensorBoardMonitor(tmp_path, val, _config()) as monitor:
        monitor.note(Progress(1, 1.0, 0.1, (Skipped("a", "cut off"),), {"fused": 1.0}, float("inf")), 3)
    scalars, *_ = _read(tmp_path)
    assert "training/gradient_norm" not in scalars
    assert scalars["training/skipped_samples"] == {1: 3.0}


def test_a_picture_shows_image_ground_truth_and_prediction_below_captions_and_over_a_legend():
    image = np.zeros((160, 320, 3), np.uint8)
    image[..., 0] = 200  # blue, in OpenCV's order
    label, prediction = np.full((160, 320), 255, np.uint8), np.full((160, 320), 13, np.uint8)
    label[:40] = 11
    picture = side_by_side(image, label, prediction, CITYSCAPES)
    assert picture.shape[1] == 3 * 320 + 4 * 8
    panels = [picture[30:190, left : left + 320] for left in (8, 336, 664)]
    assert (panels[0] == (0, 0, 200)).all()
    assert (panels[1][:40] == CITYSCAPES.colors[11]).all()
    assert (panels[1][40:] == 0).all()
    assert (panels[2] == CITYSCAPES.colors[13]).all()
    legend = picture[190:].reshape(-1, 3)
    for index, color in enumerate(CITYSCAPES.colors):
        assert ((legend == color).all(axis=1).sum() > 100) == (index in (11, 13))  # letters have greys
    for left in (8, 336, 664):
        assert (picture[:30, left : left + 320] > 200).any()
    large = np.zeros((1024, 2048), np.uint8)
    shape = side_by_side(np.zeros((1024, 2048, 3), np.uint8), large, large, CITYSCAPES).shape
    assert shape[1] == 3 * 512 + 4 * 8
