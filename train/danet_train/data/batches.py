"""The batches that training reads: the same in every process, from any step on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from danet_train.child_processes import heed_the_parent_alone, holding_signals
from danet_train.data.samples.faults import Skipped
from danet_train.data.torch_samples import TrainingItem, TrainingSamples
from danet_train.errors import DataError, TrainingError

_LOST = "DataLoader worker"
"""Start of torch's message about a loader process that has died."""


class Batch(NamedTuple):
    """Some augmented samples.

    Attributes:
        image: (B, 3, h, w) float32 normalised RGB.
        label: (B, h, w) int64 train ids, 255 where ignored.
        skipped: Samples that could not be read, in whose place others stand.
    """

    image: Tensor
    label: Tensor
    skipped: tuple[Skipped, ...]


def batches(
    samples: TrainingSamples, batch_size: int, *, workers: int, first: int = 0, rank: int = 0, world: int = 1
) -> Generator[Batch, None, None]:
    """Yield the batches of one process, in order.

    Batch k over all processes holds the items k * batch_size to (k + 1) * batch_size; each of ``world``
    processes reads an equal run of them.

    Args:
        samples: The samples; their number is a multiple of ``batch_size``.
        batch_size: Samples in a batch over all processes, a multiple of ``world``.
        workers: Number of processes that load; 0 loads in this one.
        first: The batch to begin with.
        rank: Number of this process, 0 to ``world`` - 1.
        world: The number of processes that train together.

    Raises:
        DataError: A sample cannot be read, see :class:`TrainingSamples`.
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
            worker_init_fn=_begin_worker,
        )
        for batch in _received(loader):
            if isinstance(batch, DataError):
                raise batch
            yield batch
    finally:
        cv2.setNumThreads(threads)


def _received(loader: DataLoader[TrainingItem | DataError]) -> Iterator[Batch | DataError]:
    """Yield the batches of a loader; raise an ordinary error where it dies while handing over its batch."""
    with holding_signals():
        batches_to_come = iter(loader)
    while True:
        try:
            batch = next(batches_to_come)
        except StopIteration:
            return
        except (ConnectionError, EOFError, FileNotFoundError) as error:
            raise RuntimeError(f"{_LOST} broke off ({error})") from error
        yield batch


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


@contextmanager
def naming_lost_workers(way_on: Callable[[], str] = str) -> Iterator[None]:
    """Turn the death of a loader process while the block runs into an error of this package.

    Torch reports it by a signal, so that it may be raised anywhere in the main process.

    Args:
        way_on: Called then; returns what the message adds about how to go on.

    Raises:
        TrainingError: Such a process has died.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(_LOST):
            raise
        what = str(error).removeprefix(_LOST).split(". ")[0].strip(" .")
        raise TrainingError(
            f"a process that loads samples {what}; most often memory ran out: set fewer workers, or "
            f"in_memory: false{way_on()}"
        ) from error


def _begin_worker(_number: int) -> None:
    heed_the_parent_alone()


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
