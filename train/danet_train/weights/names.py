"""The names of the authors' DANet and of torchvision's ResNets, and mmsegmentation's names for them.

The authors' code (2018 and 2020) puts a torchvision-like ResNet under ``pretrained.`` and the attention head
under ``head.``: ``conv5a``, ``sa``, ``conv51``, ``conv6`` are the position branch, ``conv5c``, ``sc``,
``conv52``, ``conv7`` the channel branch, ``conv8`` classifies their sum. A deep stem is ``conv1.{0,1,3,4,6}``
with its last normalisation ``bn1``, which mmsegmentation counts on as ``stem.{0,1,3,4,6,7}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from danet_train.errors import CheckpointError

_HEAD = (
    ("conv5a.0.", "pam_in_conv.conv."),
    ("conv5a.1.", "pam_in_conv.bn."),
    ("sa.query_conv.", "pam.query_project."),
    ("sa.key_conv.", "pam.key_project."),
    ("sa.value_conv.", "pam.value_project."),
    ("sa.gamma", "pam.gamma.scale"),
    ("conv51.0.", "pam_out_conv.conv."),
    ("conv51.1.", "pam_out_conv.bn."),
    ("conv6.1.", "pam_conv_seg."),
    ("conv5c.0.", "cam_in_conv.conv."),
    ("conv5c.1.", "cam_in_conv.bn."),
    ("sc.gamma", "cam.gamma.scale"),
    ("conv52.0.", "cam_out_conv.conv."),
    ("conv52.1.", "cam_out_conv.bn."),
    ("conv7.1.", "cam_conv_seg."),
    ("conv8.1.", "conv_seg."),
)
_DEEP_STEM = (("bn1.", "stem.7."), ("conv1.", "stem."))
_PLAIN_STEM = (("bn1.", "bn1."), ("conv1.", "conv1."))
_LAYERS = tuple((f"layer{level}.", f"layer{level}.") for level in range(1, 5))


@dataclass(frozen=True)
class Naming:
    """The naming of tensors in a file, as pairs of prefixes: the file's own, and mmsegmentation's."""

    pairs: tuple[tuple[str, str], ...]

    def to_mmseg(self, name: str) -> str:
        """Return mmsegmentation's name; one that follows no rule of the file's family stays as it is."""
        return _exchange(name, self.pairs)

    def from_mmseg(self, name: str) -> str:
        """Return the file's own name, the inverse of :meth:`to_mmseg`."""
        return _exchange(name, tuple((mmseg, own) for own, mmseg in self.pairs))

    def translate(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``state`` by mmsegmentation's names, none lost.

        Raises:
            CheckpointError: Two names of the file are one in mmsegmentation.
        """
        origin: dict[str, str] = {}
        for name in state:
            target = self.to_mmseg(name)
            if target in origin:
                raise CheckpointError(
                    f"{origin[target]!r} and {name!r} would be the same tensor, {target!r}; "
                    "one of them does not belong there"
                )
            origin[target] = name
        return {target: state[name] for target, name in origin.items()}


AS_IT_IS = Naming(())
"""Mmsegmentation's own names."""


def torchvision_naming(state: Mapping[str, Tensor], *, own: str = "", mmseg: str = "") -> Naming:
    """Return the naming of a ResNet like torchvision's; a deep stem is ``conv1.0`` and on.

    Args:
        state: The tensors by the file's own names.
        own: Prefix of each name in the file.
        mmseg: Prefix of each name in mmsegmentation.
    """
    deep = any(re.match(rf"{re.escape(own)}conv1\.\d", name) for name in state)
    stem = _DEEP_STEM if deep else _PLAIN_STEM
    return Naming(tuple((own + file, mmseg + other) for file, other in (*stem, *_LAYERS)))


def authors_naming(state: Mapping[str, Tensor]) -> Naming:
    """Return the naming of an authors' file, with or without a deep stem."""
    backbone = torchvision_naming(state, own="pretrained.", mmseg="backbone.")
    head = tuple((f"head.{file}", f"decode_head.{mmseg}") for file, mmseg in _HEAD)
    return Naming((*backbone.pairs, *head))


def _exchange(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        # A pair that ends in a dot stands for all names below it, another one for itself alone.
        if name == old or (old.endswith(".") and name.startswith(old)):
            return new + name[len(old) :]
    return name
