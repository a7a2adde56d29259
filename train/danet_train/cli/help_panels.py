"""Names of the groups in which the help of a long command shows its options."""

from __future__ import annotations

from typing import Final

DATA: Final = "The data"
TRAINING: Final = "The training"
SCORING: Final = "How it is scored"
CLASSES: Final = "The classes"
SPLITS: Final = "The splits"
ATTENTION: Final = "What is explained"
OUTPUTS: Final = "Outputs"
LISTS: Final = "Print, and end"
