"""The batches that training reads: the same ones whatever process loads them, and from whatever step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from danet_train.data.faults import Skipped
from danet_train.data.torch_samples import TrainingItem, TrainingSamples


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
    """
    share = batch_size // world
    mine = [
        start + rank * share + offset
        for start in range(first * batch_size, len(samples), batch_size)
        for offset in range(share)
    ]
    yield from DataLoader(
        Subset(samples, mine),
        batch_size=share,
        num_workers=workers,
        collate_fn=_collate,
        drop_last=True,
        worker_init_fn=_outlive_signals,
    )


def _outlive_signals(_worker: int) -> None:
    """A signal to all processes asks the training to stop, which must not lose its loaders before."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _collate(items: list[TrainingItem]) -> Batch:
    return Batch(
        torch.stack([item.image for item in items]),
        torch.stack([item.label for item in items]),
        tuple(skipped for item in items for skipped in item.skipped),
    )
