"""The files that DANet's authors published, in 2018 and with today's code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from danet_train.weights.names import Naming, authors_naming

_CLASSIFIER = ("pretrained.fc.weight", "pretrained.fc.bias")
_GAMMAS = ("decode_head.pam.gamma.scale", "decode_head.cam.gamma.scale")
_PAPER_GRID = (4, 8, 16)
_LAYER3_BLOCKS_OF_R101 = 23


class AuthorsWeights(NamedTuple):
    """An authors' file in mmsegmentation's terms.

    Attributes:
        state: The tensors by mmsegmentation's names.
        naming: Maps them back to the file's own names.
        multi_grid: Dilations of layer4 that such a file was trained with; None for (2, 4, 4).
        notes: One sentence for each part that was left out or assumed, apart from ``multi_grid``.
    """

    state: dict[str, Tensor]
    naming: Naming
    multi_grid: tuple[int, ...] | None
    notes: tuple[str, ...]


def translate_authors(stored: Mapping[str, Tensor]) -> AuthorsWeights:
    """Give the tensors of an authors' file mmsegmentation's names and shapes; check only that none is lost.

    The ImageNet classifier ``pretrained.fc`` of 2018 is left out. The gammas, (1,) here, become ().

    Raises:
        CheckpointError: Two names of the file are one in mmsegmentation.
    """
    naming = authors_naming(stored)
    state = naming.translate({name: tensor for name, tensor in stored.items() if name not in _CLASSIFIER})
    for gamma in _GAMMAS:
        if gamma in state and tuple(state[gamma].shape) == (1,):
            state[gamma] = state[gamma].reshape(())
    left_out = [name for name in _CLASSIFIER if name in stored]
    notes = (
        (f"left out: {', '.join(left_out)}, ImageNet's classifier, which no DANet uses",) if left_out else ()
    )
    return AuthorsWeights(state, naming, _multi_grid(stored), notes)


def _multi_grid(stored: Mapping[str, Tensor]) -> tuple[int, ...] | None:
    """Return the dilations that the published files were trained with, since no shape shows them.

    (4, 8, 16) (the paper's Table 2) for a plain stem: the R-101 of 2018, R-50 and R-101 of 2020. (2, 4, 4)
    for a deep stem, and for the R-50 of 2018, which is recognised by its ``pretrained.fc``.
    """
    deep = "pretrained.conv1.weight" not in stored
    of_2018 = any(name in stored for name in _CLASSIFIER)
    is_r101 = f"pretrained.layer3.{_LAYER3_BLOCKS_OF_R101 - 1}.conv1.weight" in stored
    return None if deep or (of_2018 and not is_r101) else _PAPER_GRID
