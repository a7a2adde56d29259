"""Lists of the pictures of a split, as editors, scripts and other systems leave them.

One name a line: ``2007_000032``. Taken as well: a mark at the file's beginning (UTF-8's or UTF-16's),
Latin-1, ends of lines of Windows, blank lines, space around a name, the picture's suffix, a path before the
name (relative or absolute, with the slashes of Windows too), and a second column with the path of the
labels, as DeepLab's lists have it.
"""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from danet_train.errors import DataError
from danet_train.files.limited import decoded, read_limited
from danet_train.pictures.decoding import PICTURE_SUFFIXES

_MOST_LIST_BYTES: Final = 64 << 20
_SUFFIXES: Final = (".jpg", *(suffix for suffix in PICTURE_SUFFIXES if suffix != ".jpg"))


def picture_of(folder: Path, name: str) -> Path:
    """Return the file of a picture by its name without suffix; NAME.jpg where there is none."""
    usual = folder / f"{name}{_SUFFIXES[0]}"
    if usual.is_file():
        return usual
    places = (folder / f"{name}{form}" for suffix in _SUFFIXES for form in (suffix, suffix.upper()))
    return next((place for place in places if place.is_file()), usual)


def listed_names(path: Path, images: Path) -> list[str]:
    """Read the names in a list, in its order.

    Args:
        path: The list file.
        images: The folder of the pictures; its files decide how a line is read.

    Raises:
        DataError: It cannot be read, is no text, or a line is no name.
    """
    try:
        lines = _lines(read_limited(path, _MOST_LIST_BYTES))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(f"{path} is no list of names: {error}") from error
    return [_name(path, number, line, images) for number, line in enumerate(lines, start=1) if line.strip()]


def _lines(data: bytes) -> list[str]:
    text = decoded(data)
    if "\0" in text:
        raise ValueError("it holds bytes of zero; expected text")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _name(path: Path, number: int, line: str, images: Path) -> str:
    """Return the name on a line: the first reading of it that has a picture, else its last part."""
    line = line.strip()
    slashed = line.replace("\\", "/")
    columns = [_without_suffix(column) for column in slashed.split()]
    last_parts = {PurePosixPath(column).name for column in columns}
    forms = [line, _without_suffix(line), PurePosixPath(_without_suffix(slashed)).name]
    if len(last_parts) == 1:  # one column, or the picture and its labels
        forms += [columns[0], *last_parts]
    for form in dict.fromkeys(forms):
        for spelt in _spellings(form):
            if _is_inside(spelt) and picture_of(images, spelt).is_file():
                return spelt
    if len(last_parts) > 1:
        raise DataError(
            f"{path}, line {number}: expected the name of a picture in {images}, such as 2007_000032, got "
            f"{line!r:.80}; give one name a line"
        )
    return last_parts.pop()


def _without_suffix(text: str) -> str:
    suffix = PurePosixPath(text).suffix
    return text.removesuffix(suffix) if suffix.lower() in PICTURE_SUFFIXES else text


def _spellings(name: str) -> list[str]:
    """Return the spellings of a name on disk: unchanged, composed or decomposed (macOS), in Latin-1 bytes."""
    if name.isascii():
        return [name]
    spellings = [name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
    with suppress(UnicodeEncodeError):
        spellings.append(os.fsdecode(name.encode("latin-1")))
    return list(dict.fromkeys(spellings))


def _is_inside(name: str) -> bool:
    """Return whether a name stays below the folder of the pictures."""
    return not name.startswith("/") and ".." not in PurePosixPath(name).parts
