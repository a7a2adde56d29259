"""Predictions as label images: what a benchmark's own evaluation reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from danet_train.classes import ClassTable
from danet_train.data.samples.sample import Image
from danet_train.errors import DataError, UsageError
from danet_train.files.atomic import new_folder

_MARKER = ".danet-predictions"
"""An empty file that tells a folder of predictions from one of labels."""


@contextmanager
def prediction_folder(
    folder: Path, classes: ClassTable, *, overwrite: bool = False
) -> Iterator[Callable[[str, Image], None]]:
    """Yield what writes a prediction: a single-channel PNG of the dataset's own label values.

    A sample ``aachen/aachen_000000_000019`` becomes ``FOLDER/aachen/aachen_000000_000019.png``, which
    cityscapesScripts finds by its name. The folder appears, with all of them, when the block ends well.

    Args:
        folder: The folder to make.
        classes: Classes of the dataset; Cityscapes' predictions hold labelIds.
        overwrite: Whether a folder of earlier predictions may be replaced.

    Raises:
        UsageError: The folder exists and may not be replaced, or is none that this function made.
        DataError: A PNG cannot be made.
    """
    if overwrite and folder.is_dir():
        _check_replaceable(folder)
    with new_folder(folder, overwrite=overwrite) as unfinished:
        (unfinished / _MARKER).touch()

        def write(name: str, prediction: Image) -> None:
            done, png = cv2.imencode(".png", classes.encode(prediction))
            if not done:
                raise DataError(f"the prediction of {name} cannot be made a PNG")
            path = unfinished / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png.tobytes())

        yield write


def _check_replaceable(folder: Path) -> None:
    others = [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if not (path.is_dir() or path.suffix == ".png" or path.name == _MARKER)
    ]
    if folder.is_symlink():
        trouble = "it is a link"
    elif others:
        trouble = f"it holds {others[0]}"
    elif not (folder / _MARKER).is_file():
        trouble = f"it holds no {_MARKER}"
    else:
        return
    raise UsageError(
        f"--overwrite replaces predictions that danet eval made, and {folder} holds none: {trouble}; "
        "give another path, or move it away yourself"
    )
