"""Several processes that train one network: their ranks, and what they exchange.

``torchrun`` starts them and gives each its rank through the environment:

    torchrun --nproc-per-node 4 --no-python danet train --data DATA --config CONFIG -o checkpoint.pt

Every process reads its share of each batch. Gradients are averaged by DistributedDataParallel; losses and
their divisors are summed over all processes, so that a step is that of the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from danet_train.errors import ConfigError

T = TypeVar("T")
_PATIENCE = timedelta(minutes=30)
"""Longest time that a process waits for the others, e.g. while rank 0 writes to a slow disk."""


class World(NamedTuple):
    """The processes of a training, as one of them sees it.

    Attributes:
        rank: Number of this process, 0 to ``size`` - 1. Rank 0 alone prints and writes.
        size: Number of processes.
        local_rank: Number of this process among those of its machine, and of its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum ``tensor`` over all processes, in place; each must call this with the same shape."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, value: T) -> list[T]:
        """Return the ``value`` of every process by rank; each must call this."""
        if self.size == 1:
            return [value]
        gathered: list[Any] = [None] * self.size
        dist.all_gather_object(gathered, value)
        return gathered

    def seed(self, seed: int) -> int:
        """Return a seed of this process's own; rank 0 keeps ``seed``."""
        if self.rank == 0:
            return seed
        return int(np.random.SeedSequence([seed, self.rank]).generate_state(1, np.uint64)[0] >> 1)


ALONE = World()
"""One process, as without torchrun."""


def world_from_environment() -> World:
    """Return the place that torchrun gave this process; alone where torchrun did not start it."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return ALONE
    rank = int(os.environ["RANK"])
    return World(rank, int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", rank)))


@contextmanager
def joined(world: World, device: torch.device) -> Iterator[None]:
    """Connect to the other processes while the block runs; by NCCL on CUDA, by gloo on a CPU.

    Raises:
        ConfigError: torch was built without that library.
    """
    if world.size == 1:
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    if not dist.is_backend_available(backend):
        raise ConfigError(f"this torch has no {backend}, which {world.size} processes on {device.type} need")
    dist.init_process_group(backend, timeout=_PATIENCE, device_id=device if device.type == "cuda" else None)
    try:
        yield
    finally:
        dist.destroy_process_group()


def pick_device(name: Literal["auto", "cpu", "cuda"], world: World = ALONE) -> torch.device:
    """Return the device of that name; ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: ``cuda`` is asked for and there is none, or there are fewer GPUs than processes.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but torch finds no CUDA device; use 'cpu' or 'auto'")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if world.size == 1:
        return torch.device("cuda")
    if world.local_rank >= torch.cuda.device_count():
        raise ConfigError(
            f"process {world.local_rank} of this machine has no GPU, there are {torch.cuda.device_count()}; "
            "start as many processes as GPUs (torchrun --nproc-per-node)"
        )
    device = torch.device("cuda", world.local_rank)
    torch.cuda.set_device(device)
    return device


def check_world(world: World, device: torch.device, batch_size: int, accumulate: int, frozen: bool) -> None:
    """Refuse, before training, a configuration that this number of processes cannot train.

    Args:
        world: The processes.
        device: The device of each process.
        batch_size: Samples of a step, over all processes.
        accumulate: Number of parts into which each process cuts its share.
        frozen: Whether batch statistics are frozen.

    Raises:
        ConfigError: The batch cannot be cut, or batch statistics would have to be shared on a CPU.
    """
    if batch_size % (world.size * accumulate):
        raise ConfigError(
            f"batch_size {batch_size} must be a multiple of {world.size * accumulate}: "
            f"{world.size} processes of {accumulate} parts"
        )
    if world.size > 1 and device.type == "cpu" and not frozen:
        raise ConfigError(
            "on a CPU torch cannot share batch statistics between processes; set "
            "loop.frozen_batch_norm: true, or train in one process, or on CUDA"
        )
