"""Propose the classes of masks from what they hold: which codes are classes, which are void or in between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from danet_train.classes.colors import Color, as_hex, completed_colors, parse_hex
from danet_train.classes.table import IGNORE, ClassTable
from danet_train.data.own.census import Count, blends, summed_counts
from danet_train.data.own.masks import CLEAR, Codes, MaskKind, code_of, color_of
from danet_train.data.own.names import VOID_NAMES, NamedClasses, names_by_known_colors
from danet_train.errors import DataError, UsageError

Encoding = Literal["value", "color"]
"""How masks encode classes: by the value, or index, of a pixel, or by its color."""

_BLACK: Final = 0
_VOC_BORDER: Final = code_of((224, 224, 192))
_BLACK_IS_VOID_BELOW: Final = 0.02
_MOST_BLENDED: Final = 0.05
_NEAR_LEVELS: Final = 16
_FEW_BLENDS: Final = 4
_SMOOTHED_BLENDS: Final = 8
_LEAST, _MOST = 2, 255
_COLOR: Final = 0xFFFFFF
_NAMED: Final = 6
_DIGITS: Final = 3


@dataclass(frozen=True)
class Wishes:
    """The user's statements about the classes.

    Attributes:
        table: The classes, where they are known; None proposes them.
        names: Names by value (``7``) or color (``#804080``), as the masks have it.
        void: Values or colors that are no class; None proposes them.
    """

    table: ClassTable | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    void: frozenset[str] | None = None


class Proposal(NamedTuple):
    """The classes of a set of masks.

    Attributes:
        kind: The kind of the masks.
        encoding: How their classes are told apart: by value or by color.
        table: Names and colors, by the value in the new labels.
        codes: The code of each class; -1 for one that no mask holds.
        counts: The pixels of every code, as the masks encode classes.
        void: Codes that become 255, with the reasons.
        blended: Codes between classes: one near a single class becomes it, others 255.
        notes: What was decided, in sentences.
    """

    kind: MaskKind
    encoding: Encoding
    table: ClassTable
    codes: tuple[int, ...]
    counts: Mapping[int, Count]
    void: Mapping[int, str]
    blended: frozenset[int]
    notes: list[str]

    def encode(self, codes: Codes, origin: str) -> npt.NDArray[np.uint8]:
        """Return the (H, W) labels of a mask: the class's position in the table, 255 for none.

        Raises:
            DataError: A code is unknown: the mask has changed since it was counted.
        """
        known = {code: index for index, code in enumerate(self.codes) if code >= 0}
        known |= dict.fromkeys(self.void, IGNORE)
        for code in self.blended:
            known[code] = _nearest(code, self.codes)
        ordered = np.array(sorted(known), np.uint32)
        labels = np.array([known[int(code)] for code in ordered], np.uint8)
        plain = plain_codes(codes, self.kind, self.encoding)
        places = np.minimum(np.searchsorted(ordered, plain), len(ordered) - 1)
        if (ordered[places] != plain).any():
            raise DataError(f"{origin} has changed while it was read; leave the masks alone, and start again")
        return labels[places]


def plain_codes(codes: Codes, kind: MaskKind, encoding: Encoding) -> Codes:
    """Return codes as masks encode classes: of a palette the index or the color, of grey colors the grey."""
    if kind == "palette":
        return np.asarray(codes >> 24 if encoding == "value" else codes & _COLOR, np.uint32)
    if kind == "color" and encoding == "value":
        return np.where(codes == CLEAR, codes, codes & 0xFF)
    return codes


def propose(
    kind: MaskKind, counts: Mapping[int, Count], wishes: Wishes, listed: NamedClasses | None
) -> Proposal:
    """Propose classes.

    Args:
        kind: The kind of all masks.
        counts: Their codes together (:mod:`danet_train.data.own.census`).
        wishes: What the user states.
        listed: Names that were found beside the pictures.

    Raises:
        DataError: The masks have fewer than 2 or more than 255 classes, were smoothed too much, or hold what
            the user's table does not know.
        UsageError: A stated name or void is in no mask.
    """
    notes: list[str] = []
    encoding = _encoding_of(kind, counts, notes)
    plain = _plain_counts(kind, encoding, counts)
    stated_names = {_stated_code(text, encoding, plain): name for text, name in wishes.names.items()}
    stated_void = (
        None if wishes.void is None else {_stated_code(text, encoding, plain) for text in wishes.void}
    )
    blended = frozenset(_blended(encoding, kind, plain, notes))
    candidates = sorted(set(plain) - blended - {CLEAR})
    named = {**_names(encoding, candidates, listed, notes), **stated_names}
    if stated_void is None:
        void = _void(encoding, candidates, plain, wishes.table, named)
    else:
        void = dict.fromkeys(stated_void, "stated")
    if CLEAR in plain:
        void[CLEAR] = "transparent"
    classes = [code for code in candidates if code not in void]
    if wishes.table is not None:
        codes = _codes_of_table(encoding, wishes.table, classes)
        table = ClassTable(names=wishes.table.names, colors=wishes.table.colors)
    else:
        _require_some(classes, plain)
        classes = _ordered(encoding, classes, plain)
        codes = tuple(classes)
        table = _table(kind, encoding, classes, counts, named)
    return Proposal(kind, encoding, table, codes, plain, void, blended, notes)


def shown_code(code: int, encoding: Encoding) -> str:
    """Return a code as the user writes it: ``7`` or ``#804080``."""
    if code == CLEAR:
        return "transparent"
    return as_hex(color_of(code)) if encoding == "color" else str(code)


def _encoding_of(kind: MaskKind, counts: Mapping[int, Count], notes: list[str]) -> Encoding:
    if kind == "grey":
        return "value"
    if kind == "color":
        colors = [color_of(code) for code in counts if code != CLEAR]
        if all(red == green == blue for red, green, blue in colors):
            notes.append("the colors are all grey: taken as values, stored in three channels")
            return "value"
        return "color"
    colors_of: dict[int, set[int]] = defaultdict(set)
    for code in counts:
        colors_of[code >> 24].add(code & _COLOR)
    if any(len(colors_of_index) > 1 for colors_of_index in colors_of.values()):
        notes.append("palettes differ from mask to mask: classes are told by color, not by index")
        return "color"
    return "value"


def _plain_counts(kind: MaskKind, encoding: Encoding, counts: Mapping[int, Count]) -> dict[int, Count]:
    codes = np.array(list(counts), np.uint32)
    plain = plain_codes(codes, kind, encoding).tolist()
    return summed_counts({code: count} for code, count in zip(plain, counts.values(), strict=True))


def _stated_code(text: str, encoding: Encoding, plain: Mapping[int, Count]) -> int:
    """Return the code of a value or color that the user states."""
    if encoding == "value":
        code = int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None
    else:
        color = parse_hex(text) if text.startswith("#") else None
        code = None if color is None else code_of(color)
    if code is None or code not in plain:
        there = ", ".join(shown_code(code, encoding) for code in sorted(plain)[:_NAMED])
        raise UsageError(
            f"the classes of these masks are told by {encoding}, and {text!r} is none that they hold; they "
            f"hold {there}{', ...' if len(plain) > _NAMED else ''}"
        )
    return code


def _blended(encoding: Encoding, kind: MaskKind, plain: Mapping[int, Count], notes: list[str]) -> set[int]:
    """Return the codes in between, and note them; an index of a palette never is one."""
    if kind == "palette" and encoding == "value":
        return set()
    found = blends(plain)
    solid = set(plain) - found - {CLEAR}
    if encoding == "value":
        # A thin class may well lie between its neighbours in value: only many such values tell of smoothing.
        if len(found) < _FEW_BLENDS:
            return set()
        if len(solid) > _LEAST:
            if len(found) >= _SMOOTHED_BLENDS and max(plain) > 2 * len(plain):
                raise DataError(
                    f"the masks hold {len(found)} values between those of {len(solid)} classes: they were "
                    "resized with smoothing, which makes one class of two others; export them again, or "
                    "resize them with nearest neighbour"
                )
            return set()
    pixels = sum(count.pixels for count in plain.values())
    share = sum(plain[code].pixels for code in found) / pixels
    if share > _MOST_BLENDED:
        raise DataError(
            f"{100 * share:.1f} % of the masks' pixels have one of {len(found)} colors in between: borders "
            f"are smoothed, or the masks were stored with loss; expected at most {100 * _MOST_BLENDED:.0f} "
            "%: export them without anti-aliasing, as PNG, in full size"
        )
    if found:
        notes.append(
            f"smoothed borders: {100 * share:.2g} % of the pixels have one of {len(found)} colors in "
            f"between; those within {_NEAR_LEVELS} levels of one class become it, the others are ignored "
            "(255). Export the masks without anti-aliasing to keep them"
        )
    return found


def _names(
    encoding: Encoding,
    codes: list[int],
    listed: NamedClasses | None,
    notes: list[str],
) -> dict[int, str]:
    """Return the names that are known, by code."""
    named: dict[int, str] = {}
    if encoding == "color":
        by_color = listed if listed is not None and listed.by_color else None
        if by_color is None:
            colors = [color_of(code) for code in codes if code not in (_BLACK, _VOC_BORDER)]
            by_color = names_by_known_colors(colors)
        if by_color is not None:
            named = {code: name for code in codes if (name := by_color.by_color.get(color_of(code)))}
            notes.append(f"names are from {by_color.origin}")
    elif listed is not None and listed.by_value:
        named = {code: name for code in codes if (name := listed.by_value.get(code))}
        notes.append(f"names are from {listed.origin}")
    return named


def _void(
    encoding: Encoding,
    codes: list[int],
    plain: Mapping[int, Count],
    table: ClassTable | None,
    named: Mapping[int, str],
) -> dict[int, str]:
    """Return the codes that are no class, with the reasons."""
    void = {code: f"named {name}" for code, name in named.items() if name.lower() in VOID_NAMES}
    if table is not None:
        void |= _void_beside(encoding, table, codes)
    elif encoding == "value":
        if IGNORE in codes and IGNORE not in named and len(codes) > _LEAST:
            void[IGNORE] = "255 is void by custom"
    else:
        if _VOC_BORDER in codes and _VOC_BORDER not in named:
            void[_VOC_BORDER] = "VOC's color of borders"
        share = plain[_BLACK].pixels / sum(count.pixels for count in plain.values()) if _BLACK in codes else 0
        if _BLACK in codes and _BLACK not in named and share < _BLACK_IS_VOID_BELOW:
            void[_BLACK] = f"black, {100 * share:.1f} % of the pixels"
    return void


def _void_beside(encoding: Encoding, table: ClassTable, codes: list[int]) -> dict[int, str]:
    """Return the codes that are no class beside a stated table."""
    if encoding == "value":
        return {code: "ignored by the table" for code in codes if code in (IGNORE, *table.ignored_values)}
    beside = {_BLACK: "black, no class of the table", _VOC_BORDER: "VOC's color of borders"}
    return {code: why for code, why in beside.items() if code in codes and color_of(code) not in table.colors}


def _codes_of_table(encoding: Encoding, table: ClassTable, codes: list[int]) -> tuple[int, ...]:
    values = table.label_ids if table.label_ids is not None else tuple(range(len(table)))
    stated = values if encoding == "value" else tuple(code_of(color) for color in table.colors)
    if unknown := sorted(set(codes) - set(stated)):
        shown = ", ".join(shown_code(code, encoding) for code in unknown[:_NAMED])
        raise DataError(
            f"the masks hold {len(unknown)} {encoding}s that the class table has not: {shown}; add them to "
            "it, or state them with --void"
        )
    if len(set(stated)) != len(stated):
        raise DataError("two classes of the table have one color; give each its own, as the masks have")
    return tuple(code if code in codes else -1 for code in stated)


def _require_some(classes: list[int], plain: Mapping[int, Count]) -> None:
    if len(classes) < _LEAST:
        raise DataError(
            f"the masks hold {len(classes)} class{'es' if len(classes) != 1 else ''} beside what is void; "
            "expected at least 2: where a value or black is a class, state --void none"
        )
    if len(classes) > _MOST:
        raise DataError(
            f"the masks hold {len(plain)} values or colors; expected at most {_MOST}, one for each class: "
            "they were stored with loss or smoothed, or count instances"
        )


def _ordered(encoding: Encoding, classes: list[int], plain: Mapping[int, Count]) -> list[int]:
    """Order by value; colors begin with black, and go on from what fills most."""
    if encoding == "value":
        return sorted(classes)
    return sorted(classes, key=lambda code: (code != _BLACK, -plain[code].pixels, code))


def _table(
    kind: MaskKind,
    encoding: Encoding,
    classes: list[int],
    counts: Mapping[int, Count],
    named: Mapping[int, str],
) -> ClassTable:
    names: list[str] = []
    for number, code in enumerate(classes):
        name = named.get(code) or _default_name(encoding, number, code, len(classes))
        while name in names:
            name += f" {shown_code(code, encoding)}"
        names.append(name)
    colors: list[Color | None] = [color_of(code) if encoding == "color" else None for code in classes]
    if kind == "palette" and encoding == "value":
        of_index = {code >> 24: color_of(code & _COLOR) for code in counts}
        entries = [of_index[code] for code in classes]
        is_grey = all(red == green == blue for red, green, blue in entries)
        if len(set(entries)) == len(entries) and not is_grey:
            colors = list(entries)
    return ClassTable(names=tuple(names), colors=tuple(completed_colors(names, colors)))


def _default_name(encoding: Encoding, number: int, code: int, count: int) -> str:
    if code == _BLACK and (encoding == "color" or count == _LEAST):
        return "background"
    if encoding == "color":
        return f"color {as_hex(color_of(code))[1:]}"
    return "foreground" if count == _LEAST and number else f"class {code}"


def _nearest(code: int, classes: tuple[int, ...]) -> int:
    """Return the one class whose color is near; 255 where none is, or several are."""
    own = np.array(color_of(code))
    near = [
        index
        for index, other in enumerate(classes)
        if other >= 0 and np.abs(own - np.array(color_of(other))).max() <= _NEAR_LEVELS
    ]
    return near[0] if len(near) == 1 else IGNORE
