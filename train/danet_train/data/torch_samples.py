"""The way from numpy samples to the tensors that training reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from danet_train.data.augmentation import augment
from danet_train.data.faults import Skipped
from danet_train.data.sample import Image, Sample
from danet_train.normalisation import Normalisation
from danet_train.training.sections import AugmentationConfig


def normalise(image: Image, normalisation: Normalisation) -> Tensor:
    """(H, W, 3) uint8 BGR -> (3, H, W) float32 normalised RGB."""
    rgb = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))).float()
    mean = torch.tensor(normalisation.mean)[:, None, None]
    std = torch.tensor(normalisation.std)[:, None, None]
    return (rgb - mean) / std


class TrainingItem(NamedTuple):
    """One augmented sample.

    Attributes:
        image: (3, h, w) float32 normalised RGB, of the crop's size.
        label: (h, w) int64 train ids, 255 where ignored.
        skipped: What could not be read on the way to it.
    """

    image: Tensor
    label: Tensor
    skipped: tuple[Skipped, ...] = ()


class TrainingSamples(TorchDataset[TrainingItem]):
    """A fixed number of augmented samples: item k is the same whoever loads it, in whatever order.

    The samples of the source are shuffled anew each time all have been seen.
    """

    def __init__(
        self,
        source: Sequence[Sample],
        count: int,
        augmentation: AugmentationConfig,
        normalisation: Normalisation,
        seed: int,
        *,
        in_memory: bool = False,
    ) -> None:
        self._source: Sequence[Sample] = list(source) if in_memory else source
        self._count = count
        self._augmentation = augmentation
        self._normalisation = normalisation
        self._fill_bgr = normalisation.mean[::-1]
        self._seed = seed

    def __len__(self) -> int:
        return self._count

    def count_pixels(self, num_classes: int) -> npt.NDArray[np.int64]:
        """(C,) pixels of each class over the source, before augmentation; reads every label once."""
        counts = np.zeros(256, np.int64)
        for index in range(len(self._source)):
            counts += np.bincount(self._source[index].label.ravel(), minlength=256)
        return counts[:num_classes]

    def __getitem__(self, index: int) -> TrainingItem:
        size = len(self._source)
        order = np.random.default_rng([self._seed, 0, index // size]).permutation(size)
        rng = np.random.default_rng([self._seed, 1, index])
        sample = self._source[int(order[index % size])]
        view = augment(sample, self._augmentation, self._fill_bgr, rng)
        image = normalise(view.image, self._normalisation)
        return TrainingItem(image, torch.from_numpy(view.label.astype(np.int64)))
