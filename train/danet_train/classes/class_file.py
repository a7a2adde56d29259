"""Reads and writes ``classes.yaml``; an error names the line, and shows how it is written right.

Forms, of which each may stand alone::

    classes: [road, car, sky]             # colors of a palette
    classes:
      - {name: road, color: "#804080"}    # or color: [128, 64, 128]
      - car                               # a color of the palette
    first_value: 1                        # the label value of the first class, 0 unless stated
    ignore: [11]                          # label values that mean no class; 255 always does
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import yaml

from danet_train.classes.colors import Color, as_hex, completed_colors, parse_hex
from danet_train.classes.table import IGNORE, ClassTable
from danet_train.errors import ConfigError
from danet_train.files.limited import MOST_TEXT_BYTES, compose_yaml, decoded, read_limited

_MOST_CLASSES: Final = IGNORE
_LEAST_CLASSES: Final = 2
_CHANNELS: Final = 3
_WHOLE_NUMBER: Final = re.compile(r"\d{1,9}")
_NULL: Final = "tag:yaml.org,2002:null"
_PLAIN_NAME: Final = re.compile(r"[A-Za-z][A-Za-z_-]*[A-Za-z]")
_YAMLS_WORDS: Final = frozenset({"yes", "no", "on", "off", "true", "false", "null"})

_RIGHT_FILE: Final = "classes: [road, car, sky]"
_RIGHT_ENTRY: Final = '- {name: road, color: "#804080"}, or - road'
_RIGHT_COLOR: Final = 'color: "#804080", or color: [128, 64, 128]'


class _Entry(NamedTuple):
    """A class as the file states it, and the line where it stands."""

    name: str
    color: Color | None
    line: int


def read_classes(path: Path) -> ClassTable:
    """Read a ``classes.yaml``; the label value of a class is its position in the list.

    Raises:
        ConfigError: The file is missing, no YAML, does not follow the form above, or is beyond the limits of
            :mod:`danet_train.files.limited`.
    """
    try:
        text = decoded(read_limited(path, MOST_TEXT_BYTES))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); give a classes.yaml") from error
    except ValueError as error:
        raise ConfigError(f"{path} cannot be taken: {error}; write it plainly") from error
    return parse_classes(text, str(path))


def parse_classes(text: str, origin: str) -> ClassTable:
    """Read the text of a ``classes.yaml``.

    Args:
        text: The text.
        origin: Name of the file in an error.

    Raises:
        ConfigError: See :func:`read_classes`.
    """
    return _Reader(origin).read(text)


def classes_text(table: ClassTable, heading: str) -> str:
    """Return the text of a ``classes.yaml`` of the classes' names and colors, in their order.

    Label values of its own that a table has (Cityscapes) are not in it.

    Args:
        table: The classes.
        heading: One line of comment above them.
    """
    lines = [f"# {heading}", "classes:"]
    lines += [
        f'  - {{name: {_quoted(name)}, color: "{as_hex(color)}"}}'
        for name, color in zip(table.names, table.colors, strict=True)
    ]
    return "\n".join(lines) + "\n"


class _Reader:
    """Reads one file; each problem is an error with its line."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def read(self, text: str) -> ClassTable:
        root = self._root(text)
        parts = {"classes": root}
        if isinstance(root, yaml.MappingNode):
            parts = self._keys(root, ("classes", "first_value", "ignore"), _RIGHT_FILE)
        elif not isinstance(root, yaml.SequenceNode):
            self._fail(root, "expected a list of classes", _RIGHT_FILE)
        if "classes" not in parts:
            self._fail(root, "expected the key 'classes'", _RIGHT_FILE)
        entries = self._entries(parts["classes"])
        first = self._number(parts["first_value"], "first_value: 1") if "first_value" in parts else 0
        values = range(first, first + len(entries))
        if values[-1] >= IGNORE:
            self._fail(
                parts.get("first_value", root),
                f"the {len(entries)} classes would have the label values {first} to {values[-1]}, and the "
                f"last may be {IGNORE - 1}",
                "first_value: 0",
            )
        ignored = tuple(self._ignored(parts["ignore"], values)) if "ignore" in parts else ()
        return ClassTable(
            names=tuple(entry.name for entry in entries),
            colors=tuple(
                completed_colors([entry.name for entry in entries], [entry.color for entry in entries])
            ),
            label_ids=tuple(values) if first else None,
            ignored_values=ignored,
        )

    def _root(self, text: str) -> yaml.Node:
        try:
            node = compose_yaml(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f", line {mark.line + 1}" if mark is not None else ""
            raise ConfigError(
                f"{self._origin}{line}: this is not YAML; a bracket, quote or indent is wrong there or "
                f"above; right is e.g. {_RIGHT_FILE}"
            ) from error
        except yaml.YAMLError as error:
            raise ConfigError(
                f"{self._origin} is not YAML: it holds a character that no text has; right is e.g. "
                f"{_RIGHT_FILE}"
            ) from error
        except ValueError as error:  # a limit, or a key that stands twice
            raise ConfigError(f"{self._origin} cannot be taken: {error}; write it plainly") from error
        if node is None:
            raise ConfigError(f"{self._origin} is empty; expected a list of classes, e.g. {_RIGHT_FILE}")
        return node

    def _entries(self, node: yaml.Node) -> list[_Entry]:
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, "expected a list of classes", _RIGHT_FILE)
        entries: list[_Entry] = []
        lines: dict[str, int] = {}
        for item in node.value:
            entry = self._entry(item)
            if entry.name in lines:
                self._fail(
                    item,
                    f"the class {entry.name!r} stands in line {lines[entry.name]} already, and names must "
                    "differ",
                    _RIGHT_FILE,
                )
            lines[entry.name] = entry.line
            entries.append(entry)
        if len(entries) < _LEAST_CLASSES:
            named = f"one, {entries[0].name!r}" if entries else "none"
            self._fail(
                node,
                f"expected at least two classes, got {named}: a network tells classes apart; add what is not "
                "it, and label it",
                "classes: [background, road]",
            )
        if len(entries) > _MOST_CLASSES:
            self._fail(node, f"expected at most {_MOST_CLASSES} classes, got {len(entries)}", _RIGHT_FILE)
        return entries

    def _entry(self, node: yaml.Node) -> _Entry:
        line = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            return _Entry(self._name(node), None, line)
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, "expected a class", _RIGHT_ENTRY)
        parts = self._keys(node, ("name", "color"), _RIGHT_ENTRY)
        if "name" not in parts:
            self._fail(node, "the class has no 'name'", _RIGHT_ENTRY)
        name = self._name(parts["name"])
        return _Entry(name, self._color(parts["color"], name) if "color" in parts else None, line)

    def _name(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or node.tag == _NULL or not node.value.strip():
            self._fail(node, "expected the name of a class", _RIGHT_ENTRY)
        return str(node.value)

    def _color(self, node: yaml.Node, name: str) -> Color:
        if isinstance(node, yaml.ScalarNode):
            if node.tag == _NULL and not node.value:
                self._fail(
                    node,
                    f"'color:' of {name!r} is followed by nothing; a # begins a comment unless it stands in "
                    "quotes",
                    _RIGHT_COLOR,
                )
            color = parse_hex(node.value)
            if color is None:
                self._fail(node, f"expected the color of {name!r}, got {node.value!r:.40}", _RIGHT_COLOR)
            return color
        if not isinstance(node, yaml.SequenceNode) or len(node.value) != _CHANNELS:
            self._fail(node, f"expected red, green and blue of {name!r}", _RIGHT_COLOR)
        red, green, blue = (self._number(channel, _RIGHT_COLOR) for channel in node.value)
        return red, green, blue

    def _ignored(self, node: yaml.Node, classes: range) -> Iterator[int]:
        example = f"ignore: [{IGNORE}]"
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            value = self._number(item, example)
            if value in classes:
                self._fail(item, f"the label value {value} is ignored, but stands for one class too", example)
            yield value

    def _number(self, node: yaml.Node, example: str) -> int:
        value = node.value if isinstance(node, yaml.ScalarNode) else None
        if value is None or _WHOLE_NUMBER.fullmatch(value) is None or int(value) > IGNORE:
            got = "a list or mapping" if value is None else repr(value[:40])
            self._fail(node, f"expected a whole number from 0 to {IGNORE}, got {got}", example)
        return int(value)

    def _keys(self, node: yaml.MappingNode, known: tuple[str, ...], example: str) -> dict[str, yaml.Node]:
        parts: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value not in known:
                name = repr(key.value[:40]) if isinstance(key, yaml.ScalarNode) else "of several values"
                self._fail(key, f"unknown key {name}; the keys here are {', '.join(known)}", example)
            parts[key.value] = value
        return parts

    def _fail(self, node: yaml.Node, problem: str, example: str) -> NoReturn:
        raise ConfigError(
            f"{self._origin}, line {node.start_mark.line + 1}: {problem}; right is e.g. {example}"
        )


def _quoted(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name) and name.lower() not in _YAMLS_WORDS:
        return name
    # In quotes YAML takes any text; folded lines would read the same, but not well.
    return str(yaml.safe_dump(name, default_style='"', allow_unicode=True, width=1 << 20)).strip()
