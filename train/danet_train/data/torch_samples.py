"""Turn numpy samples into the tensors that training reads."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from danet_train.classes import IGNORE
from danet_train.config.sections import AugmentationConfig, Normalisation
from danet_train.data.augmentation.augmentation import augment
from danet_train.data.samples.faults import FaultPolicy, Skipped, none_readable, read_sample, read_samples
from danet_train.data.samples.sample import Dataset, Image, Sample

_ORDER, _AUGMENTATION, _REPLACEMENT = 0, 1, 2
"""The independent random streams of a seed."""


def normalise(image: Image, normalisation: Normalisation) -> Tensor:
    """Turn (H, W, 3) uint8 BGR into (3, H, W) float32 normalised RGB."""
    out = np.empty((3, *image.shape[:2]), np.float32)
    _normalise_into(out, image, normalisation)
    return torch.from_numpy(out)


def _normalise_into(out: npt.NDArray[np.float32], image: Image, normalisation: Normalisation) -> None:
    """Write (3, h, w) of an image (h, w, 3), by a table of 256 values for each channel."""
    for plane, table, written in zip(reversed(cv2.split(image)), _tables(normalisation), out, strict=True):
        cv2.LUT(plane, table, written)


@functools.cache
def _tables(normalisation: Normalisation) -> npt.NDArray[np.float32]:
    """Return the (3, 256) normalised values by channel, RGB, and byte."""
    levels = torch.arange(256, dtype=torch.float32)
    mean, std = torch.tensor(normalisation.mean)[:, None], torch.tensor(normalisation.std)[:, None]
    return np.asarray(((levels - mean) / std).numpy(), np.float32)


class TrainingItem(NamedTuple):
    """One augmented sample.

    Attributes:
        image: (3, h, w) float32 normalised RGB, of the crop's size.
        label: (h, w) int64 train ids, 255 where ignored.
        skipped: Samples that could not be read, in whose place this one stands.
    """

    image: Tensor
    label: Tensor
    skipped: tuple[Skipped, ...] = ()


class TrainingSamples(TorchDataset[TrainingItem]):
    """A fixed number of augmented samples: item k is the same in every process and in any order.

    The samples of the source are shuffled anew each time all have been used.
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
        bad_samples: FaultPolicy = "stop",
    ) -> None:
        """Take the samples of ``source``, or read them all at once.

        Args:
            source: The samples to augment.
            count: The number of items.
            augmentation: The augmentation of a sample.
            normalisation: Normalisation of the image.
            seed: Seed of the order and of the augmentation.
            in_memory: Whether to read and keep every sample now.
            bad_samples: ``skip`` gives another sample in the place of one that cannot be read. Which one
                depends on the seed and the item's index alone.

        Raises:
            DataError: With ``in_memory``, a sample cannot be read under ``stop``, or none can.
        """
        self._source = source
        self._held: list[Sample | Skipped] | None = (
            list(read_samples(source, bad_samples)) if in_memory else None
        )
        self._count = count
        self._augmentation = augmentation
        self._normalisation = normalisation
        self._fill_bgr = normalisation.mean[::-1]
        self._seed = seed
        self._bad_samples: FaultPolicy = bad_samples

    def __len__(self) -> int:
        return self._count

    def count_pixels(self, num_classes: int) -> npt.NDArray[np.int64]:
        """Count the (C,) pixels of each class over the source, before augmentation; read every label once.

        The images of a :class:`Dataset` are not read: a fault in one is found when it is used.
        Its labels count all the same, in memory or not.

        Raises:
            DataError: A label cannot be read under ``stop``, or none can.
        """
        counts = np.zeros(256, np.int64)
        for label in self._labels():
            counts += np.bincount(label.ravel(), minlength=256)
        return counts[:num_classes]

    def _labels(self) -> Iterator[Image]:
        if isinstance(self._source, Dataset):
            for label in read_samples(self._source.labels, self._bad_samples):
                if not isinstance(label, Skipped):
                    yield label
            return
        for sample in self._held or read_samples(self._source, self._bad_samples):
            if isinstance(sample, Sample):
                yield sample.label

    def __getitem__(self, index: int) -> TrainingItem:
        """Return the item at ``index``.

        Raises:
            DataError: Its sample cannot be read under ``stop``, or no sample can.
        """
        skipped: list[Skipped] = []
        for chosen in self._choices(index):
            sample = self._read(chosen)
            if isinstance(sample, Skipped):
                skipped.append(sample)
                continue
            rng = np.random.default_rng([self._seed, _AUGMENTATION, index])
            augmented = augment(sample, self._augmentation, self._fill_bgr, rng)
            return TrainingItem(*self._tensors(augmented), tuple(skipped))
        raise none_readable(len(self._source), skipped[0])

    def _tensors(self, augmented: Sample) -> tuple[Tensor, Tensor]:
        """Return image and labels of the crop's size, padded with 0 and ignored labels."""
        height, width = augmented.label.shape
        image = np.zeros((3, *self._augmentation.crop_hw), np.float32)
        label = np.full(self._augmentation.crop_hw, IGNORE, np.int64)
        _normalise_into(image[:, :height, :width], augmented.image, self._normalisation)
        label[:height, :width] = augmented.label
        return torch.from_numpy(image), torch.from_numpy(label)

    def _choices(self, index: int) -> Iterator[int]:
        """Yield the sample of an item, then those to take in its place, each once."""
        size = len(self._source)
        order = np.random.default_rng([self._seed, _ORDER, index // size]).permutation(size)
        first = int(order[index % size])
        yield first
        for other in np.random.default_rng([self._seed, _REPLACEMENT, index]).permutation(size):
            if other != first:
                yield int(other)

    def _read(self, index: int) -> Sample | Skipped:
        if self._held is not None:
            return self._held[index]
        return read_sample(self._source, index, self._bad_samples)
