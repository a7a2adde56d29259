"""The batches that training reads: the same ones whatever process loads them, and from whatever step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from danet_train.data.faults import Skipped
from danet_train.data.torch_samples import TrainingItem, TrainingSamples
from danet_train.errors import DataError


class Batch(NamedTuple):
    """Some augmented samples.

    Attributes:
        image: (B, 3, h, w) float32 normalised RGB.
        label: (B, h, w) int64 train ids, 255 where ignored.
        skipped: What could not be read on the way to these samples.
    """

    image: Tensor
    label: Tensor
    skipped: tuple[Skipped, ...]


def batches(
    samples: TrainingSamples, batch_size: int, *, workers: int, first: int = 0, rank: int = 0, world: int = 1
) -> Iterator[Batch]:
    """The batches of one process, in order.

    Batch k over all processes holds the items k * batch_size to (k + 1) * batch_size; each of ``world``
    processes reads an equal run of them.

    Args:
        samples: A multiple of ``batch_size``.
        batch_size: Over all processes, a multiple of ``world``.
        workers: Processes that load; 0 loads in this one.
        first: The batch to begin with.
        rank: Of this process, 0 to ``world`` - 1.
        world: The number of processes that train together.

    Raises:
        DataError: A sample cannot be read, as :class:`TrainingSamples` says.
    """
    share = batch_size // world
    mine = [
        start + rank * share + offset
        for start in range(first * batch_size, len(samples), batch_size)
        for offset in range(share)
    ]
    threads = cv2.getNumThreads()
    if workers:
        # Here, before they are forked: each would else start a thread a core, and a process that is forked
        # beside OpenCV's threads waits for ever for them.
        cv2.setNumThreads(1)
    try:
        loader = DataLoader(
            _Share(samples, mine),
            batch_size=share,
            num_workers=workers,
            collate_fn=_collate,
            drop_last=True,
            worker_init_fn=_outlive_signals,
        )
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            yield batch
    finally:
        cv2.setNumThreads(threads)


class _Share(TorchDataset[TrainingItem | DataError]):
    """The items of one process; an error is handed over as it is, or torch would bury it in a traceback."""

    def __init__(self, samples: TrainingSamples, indices: list[int]) -> None:
        self._samples = samples
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> TrainingItem | DataError:
        try:
            return self._samples[self._indices[index]]
        except DataError as error:
            return error


def _outlive_signals(_worker: int) -> None:
    """A signal to all processes asks the training to stop, which must not lose its loaders before."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _collate(read: list[TrainingItem | DataError]) -> Batch | DataError:
    items: list[TrainingItem] = []
    for item in read:
        if isinstance(item, DataError):
            return item
        items.append(item)
    return Batch(
        torch.stack([item.image for item in items]),
        torch.stack([item.label for item in items]),
        tuple(skipped for item in items for skipped in item.skipped),
    )
