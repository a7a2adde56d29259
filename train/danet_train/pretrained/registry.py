"""The networks that ship with the package, by name: ``pretrained:NAME`` in place of a checkpoint's path.

A network is two files in this folder: ``NAME.safetensors``, the weights, and ``NAME.json``, their record
(:mod:`danet_train.pretrained.record`). Nothing else lists it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from danet_train.errors import NoCheckpointError

SCHEME: Final = "pretrained:"
FOLDER: Final = Path(__file__).parent
_WEIGHTS, _RECORD = ".safetensors", ".json"


def pretrained_names(folder: Path | None = None) -> list[str]:
    """Return the names of the networks in ``folder``, in order; None for the package's own."""
    return sorted(file.stem for file in (folder or FOLDER).glob(f"*{_WEIGHTS}"))


def pretrained_name(path: Path | str) -> str | None:
    """Return NAME of ``pretrained:NAME``; None for any other path, and for a file of that very name."""
    text = str(path)
    if not text.startswith(SCHEME) or os.path.lexists(text):
        return None
    return text.removeprefix(SCHEME)


def find_pretrained(name: str, folder: Path | None = None) -> tuple[Path, Path]:
    """Return the file of the weights and that of the record of the network ``name``.

    Raises:
        NoCheckpointError: There is none of that name; the message lists those that are there.
    """
    names = pretrained_names(folder)
    if name not in names:
        raise NoCheckpointError(
            f"there is no pretrained network {name[:80]!r}; expected one of: "
            f"{', '.join(names) or 'none, for none ships with this version'}"
        )
    return pretrained_files(name, folder or FOLDER)


def pretrained_files(name: str, folder: Path) -> tuple[Path, Path]:
    """Return where the weights and the record of a network ``name`` stand in ``folder``, there or not."""
    return folder / f"{name}{_WEIGHTS}", folder / f"{name}{_RECORD}"


def checkpoint_help(text: str) -> str:
    """Return the help of an argument that takes a checkpoint: ``text``, and the networks that ship."""
    names = pretrained_names()
    return f"{text} Or one that ships: {', '.join(SCHEME + name for name in names)}." if names else text
