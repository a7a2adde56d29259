"""The precision that a configuration asks for, on a CPU that has no instructions for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from danet_train.training.config import TrainConfig
    from danet_train.training.distributed import World

_CPU = Path("/proc/cpuinfo")
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Names that Linux gives to instructions for BF16, on x86-64 and aarch64."""


def computes_bfloat16(cpuinfo: str) -> bool:
    """Return whether a CPU has instructions for BF16.

    Args:
        cpuinfo: Text of ``/proc/cpuinfo``; where it lists no features, the answer is yes.
    """
    features = [
        line.partition(":")[2] for line in cpuinfo.splitlines() if line.startswith(("flags", "Features"))
    ]
    return not features or bool(_BFLOAT16 & set(features[0].split()))


def precision_here(
    config: TrainConfig, assignments: Sequence[str], world: World
) -> tuple[TrainConfig, str | None]:
    """Return the settings to train with, and a sentence where they are others than the configuration's.

    Emulated, BF16 takes about ten times as long as FP32 on a CPU with AVX2 alone. So a configuration's own
    ``bf16`` becomes ``fp32`` there; one that the user states stays.

    Args:
        config: The settings.
        assignments: The user's ``key=value`` settings.
        world: The processes that train together.
    """
    from danet_train.training.distributed import pick_device

    stated = any(assignment.partition("=")[0] == "precision" for assignment in assignments)
    if config.precision != "bf16" or stated or pick_device(config.device, world).type != "cpu":
        return config, None
    if computes_bfloat16(_CPU.read_text(encoding="utf-8") if _CPU.is_file() else ""):
        return config, None
    return (
        config.model_copy(update={"precision": "fp32"}),
        "this CPU has no instructions for bfloat16, which would take longer: training in fp32 "
        "(precision=bf16 asks for it all the same)",
    )
