"""Where the repository and the results are."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
GPU_RESULTS = Path(os.environ.get("DANET_GPU_RESULTS", RESULTS))
"""The variable sends a trial run's figures elsewhere, so that they replace none."""

PRETRAINED = REPOSITORY / "train" / "danet_train" / "pretrained"
"""The networks that ship, with their records."""


def results_file(name: str) -> Path:
    """The committed results of one benchmark."""
    return RESULTS / f"{name}.json"
