"""Names of classes: from a list beside the pictures, as tools write it, or by the colors of known tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from cityscapesscripts.helpers.labels import labels as _cityscapes_labels

from danet_train.classes import find_classes
from danet_train.classes.colors import Color
from danet_train.files.limited import MOST_TEXT_BYTES, decoded, read_limited

VOID_NAMES: Final = frozenset(["void", "ignore", "ignored", "unlabeled", "unlabelled", "unknown", "none"])
"""Names of what is no class, in small letters."""

_LIST_NAMES: Final = re.compile(
    r"label_?map\.txt|label_?colou?rs?\.(txt|csv)|class_dict\.csv|_?classes\.(csv|txt)|(codes|labels)\.txt",
    re.IGNORECASE,
)
_BYTE: Final = r"(\d{1,3})"
_LINES: Final = (
    re.compile(rf"(?P<name>[^:]+):\s*{_BYTE}\s*,\s*{_BYTE}\s*,\s*{_BYTE}\s*(:.*)?"),  # CVAT's labelmap.txt
    re.compile(rf"{_BYTE}[\s,]+{_BYTE}[\s,]+{_BYTE}[\s,]+(?P<name>\S.*)"),  # CamVid's label_colors.txt
    re.compile(rf"(?P<name>[^,]+),\s*{_BYTE}\s*,\s*{_BYTE}\s*,\s*{_BYTE}\s*"),  # class_dict.csv
    re.compile(r"(?P<value>\d{1,3})\s*[,:]\s*(?P<name>[^,]+)"),  # Roboflow's _classes.csv
    re.compile(r"(?P<name>[^\d,:;][^,:;]*)"),  # a name a line, in the order of the values
)
_HEADING: Final = re.compile(r"#.*|(class_?)?(name|label|pixel value|id|r)\b.*", re.IGNORECASE)
_MOST: Final = 255
_LEAST_MATCHED: Final = 3  # two colors of a known table may be there by accident


class NamedClasses(NamedTuple):
    """Names that were found.

    Attributes:
        origin: Where, in words.
        by_color: Names by color.
        by_value: Names by the value in a grey or palette mask.
    """

    origin: str
    by_color: Mapping[Color, str]
    by_value: Mapping[int, str]


def listed_names(folder: Path) -> NamedClasses | None:
    """Return the names in the first list of classes in a folder; None where there is none that can be read.

    Lists are ``labelmap.txt``, ``label_colors.txt``, ``class_dict.csv``, ``_classes.csv``, ``classes.txt``
    and the like.
    """
    for path in sorted(folder.iterdir()):
        if _LIST_NAMES.fullmatch(path.name) and path.is_file():
            try:
                text = decoded(read_limited(path, MOST_TEXT_BYTES))
            except (OSError, ValueError):
                continue
            if (found := parse_list(text, path.name)) is not None:
                return found
    return None


def parse_list(text: str, origin: str) -> NamedClasses | None:
    """Read a list of classes in one of the known forms; None where it is in none.

    Args:
        text: The list, a class a line.
        origin: Name of the list.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and _HEADING.fullmatch(lines[0]):
        lines = lines[1:]
    lines = [line for line in lines if not line.startswith("#")]
    if not 1 < len(lines) <= _MOST:
        return None
    for form in _LINES:
        matches = [match for line in lines if (match := form.fullmatch(line)) is not None]
        if len(matches) == len(lines):
            return _named(matches, origin)
    return None


def names_by_known_colors(colors: Iterable[Color]) -> NamedClasses | None:
    """Return the names of a known table that has all of the colors, at least three; None where none has."""
    wanted = set(colors)
    for origin, known in _known_tables():
        matched = wanted & set(known)
        if matched == wanted and len(matched) >= _LEAST_MATCHED:
            return NamedClasses(origin, known, {})
    return None


def _named(matches: list[re.Match[str]], origin: str) -> NamedClasses | None:
    by_color: dict[Color, str] = {}
    by_value: dict[int, str] = {}
    for index, match in enumerate(matches):
        name = match["name"].strip()
        numbers = [int(group) for group in match.groups() if group is not None and group.isdigit()]
        if not name or not name.isprintable() or any(number > _MOST for number in numbers):
            return None
        if "value" in match.re.groupindex:
            by_value[int(match["value"])] = name
        elif len(numbers) == 3:
            by_color[numbers[0], numbers[1], numbers[2]] = name
        else:
            by_value[index] = name
    return NamedClasses(origin, by_color, by_value)


@lru_cache(maxsize=1)
def _known_tables() -> tuple[tuple[str, dict[Color, str]], ...]:
    labels = [label for label in _cityscapes_labels if label.id >= 0]
    found = [("Cityscapes' colors", {label.color: label.name for label in reversed(labels)})]
    for name, title in (("voc2012", "VOC's colors"), ("ade20k", "ADE20K's colors")):
        table = find_classes(name)
        found.append((title, dict(zip(table.colors, table.names, strict=True))))
    return tuple(found)
