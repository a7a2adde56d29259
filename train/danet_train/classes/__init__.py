"""Class tables: what the channels of the logits and the values of label images stand for.

:mod:`danet_train.classes.table` is the table, :mod:`danet_train.classes.class_file` reads and writes a
``classes.yaml``, :mod:`danet_train.classes.known` has the tables that are known by name.
"""

from __future__ import annotations

from danet_train.classes.class_file import read_classes
from danet_train.classes.known import CITYSCAPES, find_classes, numbered_classes
from danet_train.classes.table import IGNORE, ClassTable, describe_difference, first_difference

__all__ = [
    "CITYSCAPES",
    "IGNORE",
    "ClassTable",
    "describe_difference",
    "find_classes",
    "first_difference",
    "numbered_classes",
    "read_classes",
]
