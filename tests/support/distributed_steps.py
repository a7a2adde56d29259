"""Some steps of a small DANet in float64, by one process or by one of several under torchrun.

python distributed_steps.py FOLDER CONFIG.yaml

Reads FOLDER/steps.pt, (images, labels) of each step, and writes FOLDER/RANK-of-SIZE.pt: the losses, the
gradients' norms and the weights after the last step.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from danet_train.data.batches import Batch
from danet_train.training.config import read_config
from danet_train.training.distributed import joined, world_from_environment
from danet_train.training.learner import Learner
from danet_train.training.loop import make_learner
from danet_train.training.objective.optimiser import make_optimiser, set_learning_rate

CLASSES = 4
WEIGHTS = (0.2, 1.0, 3.0, 0.7)


def main(folder: Path, config_path: str) -> None:
    torch.set_num_threads(1)
    config = read_config(config_path)
    world, device = world_from_environment(), torch.device("cpu")
    with joined(world, device):
        torch.manual_seed(config.seed)
        model = make_learner(config, CLASSES, device).model.double()
        for module in model.modules():  # as in a trained network: no branch is near zero
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.constant_(module.weight, 0.9)
        for attention in (model.decode_head.pam, model.decode_head.cam):
            assert attention is not None
            torch.nn.init.constant_(attention.gamma.scale, 0.5)
        learner = Learner(model, config, [make_optimiser(model, config.optimiser)], world)
        weights = torch.tensor(WEIGHTS, dtype=torch.float64) if config.loss.class_balance else None
        results = []
        for images, labels in torch.load(folder / "steps.pt", weights_only=True):
            share = slice(
                world.rank * len(images) // world.size, (world.rank + 1) * len(images) // world.size
            )
            set_learning_rate(learner.optimisers, config.optimiser.lr)
            results.append(learner.step(Batch(images[share], labels[share], ()), weights))
    torch.save(
        {
            "losses": [result.loss for result in results],
            "heads": [result.heads for result in results],
            "norms": [result.gradient_norm for result in results],
            "model": model.state_dict(),
        },
        folder / f"{world.rank}-of-{world.size}.pt",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
