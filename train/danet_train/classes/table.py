"""A class table: the classes of the logits' channels, and the values of label images that map to them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from danet_train.errors import DataError

IGNORE = 255
"""The train id of a pixel that counts neither in a loss nor in a score."""

_Byte = Annotated[int, Field(ge=0, le=255)]
_UNKNOWN = -1


class ClassTable(BaseModel):
    """Names and colors by train id, and the values that label images hold for them.

    Attributes:
        names: Names of the classes by train id, 0 first.
        colors: RGB colors, 0..255, by train id.
        ignore: The train id of ignored pixels.
        label_ids: The value in a label image by train id; None where the value is the train id.
        ignored_values: Further values of a label image that mean an ignored pixel; 255 always does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...] = Field(min_length=2, max_length=255)
    colors: tuple[tuple[_Byte, _Byte, _Byte], ...] = Field(
        validation_alias=AliasChoices("colors", "colours")  # the second in checkpoints of version 0.1
    )
    ignore: int = Field(default=IGNORE, ge=IGNORE, le=IGNORE)
    label_ids: tuple[_Byte, ...] | None = None
    ignored_values: tuple[_Byte, ...] = ()

    @model_validator(mode="after")
    def _lengths_agree(self) -> ClassTable:
        for name, values in (("colors", self.colors), ("label_ids", self.label_ids)):
            if values is not None and len(values) != len(self.names):
                raise ValueError(f"{name} must have one entry a class: {len(self.names)}, not {len(values)}")
        if len(set(self.names)) != len(self.names):
            raise ValueError("names must differ from each other")
        values = self.label_ids if self.label_ids is not None else tuple(range(len(self.names)))
        if len(set(values)) != len(values) or IGNORE in values or set(values) & set(self.ignored_values):
            raise ValueError("each label value must stand for one class or, like 255, for an ignored pixel")
        return self

    def __len__(self) -> int:
        """The number of classes, ignored pixels not counted."""
        return len(self.names)

    @cached_property
    def _train_id_by_value(self) -> npt.NDArray[np.int16]:
        table = np.full(256, _UNKNOWN, np.int16)
        values = self.label_ids if self.label_ids is not None else range(len(self.names))
        table[list(values)] = np.arange(len(self.names))
        table[[IGNORE, *self.ignored_values]] = IGNORE
        return table

    def decode(self, values: npt.NDArray[np.uint8], source: str) -> npt.NDArray[np.uint8]:
        """Return the train ids of a label image.

        Args:
            values: (H, W) values of the label image.
            source: Name of the image in an error.

        Returns:
            (H, W) train ids, 255 where ignored; a new array.

        Raises:
            DataError: A value is in no class and not ignored.
        """
        table = self._train_id_by_value
        is_unknown = table == _UNKNOWN
        if cv2.LUT(values, is_unknown.astype(np.uint8)).any():
            unknown = np.unique(values[is_unknown[values]])
            shown = ", ".join(str(value) for value in unknown[:8])
            raise DataError(
                f"{source} holds the label value{'s' if unknown.size > 1 else ''} {shown}, unknown to the "
                f"table of {len(self)} classes; correct the image, or list the value under 'ignore:'"
            )
        return np.asarray(cv2.LUT(values, table.astype(np.uint8)), np.uint8)

    def encode(self, train_ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Map (H, W) train ids to the values that a label image holds for them.

        Ignored pixels become the first ignored value (Cityscapes: 0, unlabeled), or 255 without one.
        """
        table = np.full(256, self.ignored_values[0] if self.ignored_values else IGNORE, np.uint8)
        table[: len(self)] = self.label_ids if self.label_ids is not None else np.arange(len(self))
        return table[train_ids]

    def palette(self) -> npt.NDArray[np.uint8]:
        """Return (256, 3) RGB colors by train id; black where there is no class."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self)] = self.colors
        return table


def first_difference(names: Sequence[str], others: Sequence[str]) -> int | None:
    """Return the first position at which two tables name different classes; None where there is none.

    White space around a name is ignored: mmsegmentation's table of ADE20K has ``'bed '``. Where one table
    is longer, its first class beyond the other differs.
    """
    for index, (name, other) in enumerate(zip(names, others, strict=False)):
        if name.strip() != other.strip():
            return index
    return None if len(names) == len(others) else min(len(names), len(others))


def describe_difference(names: Sequence[str], others: Sequence[str], here: str, there: str) -> str | None:
    """Describe the first class that differs between two tables; None where they name the same.

    Args:
        names: Class names of one table.
        others: Class names of the other table.
        here: Name of the one in the message, e.g. ``the bundle``.
        there: Name of the other in the message.
    """
    index = first_difference(names, others)
    if index is None:
        return None
    if index == min(len(names), len(others)):
        return f"{here} has {len(names)} classes, {there} {len(others)}"
    return f"class {index} is {names[index]!r} in {here}, but {others[index]!r} in {there}"
