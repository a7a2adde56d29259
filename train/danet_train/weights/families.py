"""The families of files, recognised by the names of their tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

from danet_train.errors import CheckpointError

_SHOWN = 4


class Family(StrEnum):
    """The origin of a file's names; the value is its name in messages."""

    MMSEG = "a DANet with mmsegmentation's names"
    AUTHORS = "a DANet with its authors' names"
    BACKBONE = "a ResNet alone"


_PREFIXES = {
    Family.MMSEG: r"(backbone|decode_head|auxiliary_head)\.",
    Family.AUTHORS: r"(pretrained|head)\.",
    Family.BACKBONE: r"(stem|conv1|bn1|layer[1-4]|fc)\.",
}
_EXPECTED = (
    "mmsegmentation and this project name them 'backbone.layer1.0.conv1.weight' and "
    "'decode_head.conv_seg.weight', the authors of DANet 'pretrained.layer1.0.conv1.weight' and "
    "'head.conv8.1.weight', and a ResNet alone, which only a training's 'backbone_weights' takes, "
    "'layer1.0.conv1.weight'"
)


def recognise(names: Iterable[str]) -> Family:
    """Return the family that most of ``names`` belong to; the reader refuses other names.

    Raises:
        CheckpointError: No name is of any family.
    """
    names = list(names)
    counts = {
        family: sum(1 for name in names if re.match(prefix, name)) for family, prefix in _PREFIXES.items()
    }
    family = max(counts, key=lambda candidate: counts[candidate])
    if not counts[family]:
        shown = ", ".join(repr(name) for name in names[:_SHOWN]) or "nothing"
        raise CheckpointError(
            f"the file lacks the tensors of a DANet: its {len(names)} tensors begin with {shown}; "
            f"{_EXPECTED}. Give one of these"
        )
    return family
