"""Curves and pictures of a training for TensorBoard."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np

from danet_train.classes import IGNORE, ClassTable
from danet_train.data.samples.faults import Skipped, read_sample
from danet_train.data.samples.sample import Dataset, Image
from danet_train.errors import UsageError
from danet_train.evaluation.metrics import ConfusionMatrix
from danet_train.evaluation.prediction import predict
from danet_train.model.danet import DANet
from danet_train.pictures.panels import LegendEntry, Panel, PanelDrawing, panel_size
from danet_train.training.config import TrainConfig
from danet_train.training.loop import Progress
from danet_train.training.scoring import undisturbed

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PICTURES = 3
"""Number of validation samples that are shown, the first ones."""
_PANEL_LEAST_PX, _PANEL_MOST_PX = 320, 512
"""Least width and longest side of a panel of a picture."""
_FLUSH_SECONDS = 20
_EVENT_FILES = "events.out.tfevents.*"


class Monitor:
    """Follows a training; this one writes nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def note(self, progress: Progress, skipped: int) -> None:
        """Take note of a step; ``skipped`` samples were left out so far."""

    def score(self, step: int, matrix: ConfusionMatrix, model: DANet) -> None:
        """Take note of the scores of the validation split after step ``step``."""

    def close(self) -> None:
        """Finish the files."""


class TensorBoardMonitor(Monitor):
    """Writes an event file.

    Args:
        folder: The folder to write to; made where it is missing.
        samples: The validation split; its first ``PICTURES`` samples are shown at each evaluation.
        config: The configuration of the run.
        first: Number of steps that were run before; TensorBoard discards what the folder's files hold of
            later ones, since those steps are run again.

    Raises:
        UsageError: The library is not installed.
    """

    def __init__(
        self,
        folder: Path,
        samples: Dataset,
        config: TrainConfig,
        *,
        first: int = 0,
    ) -> None:
        self._writer = _writer(folder, first)
        self._samples, self._classes, self._config = samples[:PICTURES], samples.classes, config
        self._since = time.perf_counter()

    def note(self, progress: Progress, skipped: int) -> None:
        """Write the losses, the learning rate, the gradient's norm and the speed."""
        now = time.perf_counter()
        scalars = {
            "loss/total": progress.loss,
            **{f"loss/{name}": loss for name, loss in progress.heads.items()},
            "training/learning_rate": progress.lr,
            "training/gradient_norm": progress.gradient_norm,
            "training/images_per_second": self._config.batch_size / max(now - self._since, 1e-9),
            "training/skipped_samples": float(skipped),
        }
        for name, value in scalars.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, progress.step)
        self._since = now

    def score(self, step: int, matrix: ConfusionMatrix, model: DANet) -> None:
        """Write the scores, and a picture of each of the first samples: image, ground truth, prediction."""
        scalars = {"validation/miou": matrix.miou, "validation/pixel_accuracy": matrix.pixel_accuracy}
        scalars |= {
            f"validation_iou/{name}": float(value)
            for name, value in zip(self._classes.names, matrix.iou(), strict=True)
        }
        for name, value in scalars.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, step)
        with undisturbed(model):
            model.eval()
            for index in range(len(self._samples)):
                sample = read_sample(self._samples, index, self._config.bad_samples)
                if isinstance(sample, Skipped):
                    continue
                prediction = predict(model, sample.image, self._config.normalisation, self._config.evaluation)
                picture = side_by_side(sample.image, sample.label, prediction, self._classes)
                self._writer.add_image(f"validation/{sample.name}", picture, step, dataformats="HWC")
        self._since = time.perf_counter()

    def close(self) -> None:
        """Write what is still held back."""
        self._writer.close()


def side_by_side(image: Image, label: Image, prediction: Image, classes: ClassTable) -> Image:
    """Draw image, ground truth and prediction in the classes' colors, each under its caption, over a legend.

    Args:
        image: (H, W, 3) uint8 BGR.
        label: (H, W) train ids; black where ignored.
        prediction: (H, W) train ids.
        classes: The class table, for the names and colors.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    size_wh = panel_size((label.shape[0], label.shape[1]), _PANEL_LEAST_PX, _PANEL_MOST_PX)
    smooth = cv2.INTER_AREA if size_wh[0] < label.shape[1] else cv2.INTER_LINEAR
    shown: Image = np.ascontiguousarray(cv2.resize(image, size_wh, interpolation=smooth)[..., ::-1])
    palette = classes.palette()
    truth, guess = (
        palette[cv2.resize(ids, size_wh, interpolation=cv2.INTER_NEAREST_EXACT)]
        for ids in (label, prediction)
    )
    known = label != IGNORE
    right = f", {(prediction == label)[known].mean():.1%} right" if known.any() else ""
    counts = np.bincount(label[known], minlength=256) + np.bincount(prediction.ravel(), minlength=256)
    present = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
    panels = [
        Panel("image", shown),
        Panel("ground truth (black: ignored)", truth),
        Panel(f"prediction{right}", guess),
    ]
    legend = [LegendEntry(classes.names[index], classes.colors[index]) for index in present]
    return PanelDrawing(cv2).draw([panels], legend)


def check_tensorboard(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """Refuse, before training, a folder that cannot be written to or holds the curves of another run.

    Raises:
        UsageError: It holds the curves of another run, is a file, or TensorBoard is not installed.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give a folder for TensorBoard's files")
    if not resume and not overwrite and any(folder.glob(_EVENT_FILES)):
        raise UsageError(
            f"{folder} holds the curves of another run; give another folder, or --overwrite to replace them"
        )
    _library()


def forget_curves(folder: Path) -> None:
    """Remove the event files of another run."""
    for path in folder.glob(_EVENT_FILES):
        path.unlink()


def _library() -> type[SummaryWriter]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "TensorBoard is not installed; install it with: pip install 'danet-train[tensorboard]'"
        ) from error
    return SummaryWriter


def _writer(folder: Path, first: int) -> SummaryWriter:
    make = _library()
    return make(str(folder), purge_step=first + 1 if first else None, flush_secs=_FLUSH_SECONDS)
