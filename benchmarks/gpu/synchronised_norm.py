"""Two processes with synchronised batch norm make the steps of one with the same batch.

python -m benchmarks.gpu.synchronised_norm

By NCCL where there are two GPUs; on one, which NCCL does not let two processes share, both are on it and talk
by gloo. Losses, weights and running statistics after some steps of a small DANet in float64, labels ignored
to very different degrees in the two halves of the batch. Exits 1 where they differ, 0 with a message where
there is no GPU.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import distributed as dist

from benchmarks.gpu.measurement import exit_code_of, gpu_is_missing, record
from benchmarks.networks import open_attentions
from benchmarks.places import REPOSITORY
from danet_train.data.batches import Batch
from danet_train.training.config import TrainConfig
from danet_train.training.distributed import World, world_from_environment
from danet_train.training.learner import Learner
from danet_train.training.loop import make_learner
from danet_train.training.objective.optimiser import make_optimiser, set_learning_rate

STEPS, BATCH, CLASSES, SIZE = 4, 4, 5, (64, 96)
TOLERANCE = 1e-9
"""In float64 only the order of sums differs."""

CONFIG = TrainConfig.model_validate({
    "model": {
        "depth": 18,
        "base_channels": 8,
        "stem_channels": 8,
        "head_channels": 16,
        "attention_channels": 4,
        "aux_channels": 8,
        "dropout": 0.0,
    },
    "augmentation": {"crop_hw": list(SIZE)},
    "optimiser": {"kind": "sgd", "lr": 0.02, "clip_norm": 5.0},
    "loss": {"mean_over": "valid"},
    "batch_size": BATCH,
    "steps": STEPS,
    "device": "cuda",
})  # fmt: skip


def run_steps(world: World, device: torch.device) -> dict[str, Any]:
    """Losses and weights of this process after the steps."""
    torch.manual_seed(0)
    model = make_learner(CONFIG, CLASSES, device).model.double()
    open_attentions(model, 0.5)
    if world.size > 1:
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    learner = Learner(model, CONFIG, [make_optimiser(model, CONFIG.optimiser)], world)
    set_learning_rate(learner.optimisers, CONFIG.optimiser.lr)
    generator = torch.Generator().manual_seed(1)
    share = BATCH // world.size
    losses = []
    for _ in range(STEPS):
        image = torch.randn(BATCH, 3, *SIZE, generator=generator, dtype=torch.float64)
        label = torch.randint(0, CLASSES, (BATCH, *SIZE), generator=generator)
        label[: BATCH // 2, 2:] = 255
        part = slice(world.rank * share, (world.rank + 1) * share)
        losses.append(learner.step(Batch(image[part], label[part], ()), None).loss)
    return {"losses": torch.tensor(losses), **{k: v.cpu() for k, v in model.state_dict().items()}}


def difference(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative in the Frobenius norm, of nearly nothing absolute; infinite where it is no number."""
    error = float((got - expected).norm() / expected.norm().clamp(min=1e-3))
    return error if math.isfinite(error) else math.inf


def one_of_two(folder: Path) -> None:
    """Be one process under torchrun."""
    world = world_from_environment()
    several = torch.cuda.device_count() >= world.size
    device = torch.device("cuda", world.local_rank if several else 0)
    torch.cuda.set_device(device)
    dist.init_process_group("nccl" if several else "gloo", timeout=timedelta(minutes=5))
    torch.save(run_steps(world, device), folder / f"{world.rank}.pt")
    dist.destroy_process_group()


def main() -> int:
    if len(sys.argv) > 1:
        one_of_two(Path(sys.argv[1]))
        return 0
    if gpu_is_missing():
        return 0
    console = Console()
    backend = "NCCL on two GPUs" if torch.cuda.device_count() >= 2 else "gloo on one GPU"
    alone = run_steps(World(), torch.device("cuda"))
    with tempfile.TemporaryDirectory() as name:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        done = subprocess.run(
            [*launcher, "-m", "benchmarks.gpu.synchronised_norm", name], cwd=REPOSITORY, check=False
        )
        if done.returncode:
            console.print(f"the two processes failed ({backend})")
            return 1
        ranks = [torch.load(Path(name) / f"{rank}.pt", weights_only=True) for rank in range(2)]
    worst, key = max(
        (difference(rank[key], alone[key]), key)
        for rank in ranks
        for key in alone
        if alone[key].is_floating_point()
    )
    console.print(f"largest relative difference {worst:.2e} ({key}), {backend}")
    record(
        "synchronised_norm",
        {"backend": backend, "largest_difference": worst, "of": key, "tolerance": TOLERANCE},
    )
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(exit_code_of(main))
