"""Reading files that anybody may have written: what they hold is limited before it takes memory or time."""

from __future__ import annotations

import codecs
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml

from danet_train.errors import ConfigError

MOST_TEXT_BYTES: Final = 1 << 20
"""Bytes of a YAML file at most; the largest class table takes some 10 thousand."""

MOST_VALUES: Final = 20_000
"""Values of a YAML file at most, each counted as often as an alias repeats it."""

_DEEPEST: Final = 50
_LONGEST: Final = 10_000  # a number in base 60 of a megabyte would be computed for minutes


def read_limited(path: Path, limit_bytes: int) -> bytes:
    """The content of a file, unless it is larger than a limit; no more than that is ever read.

    Raises:
        OSError: It cannot be read.
        ValueError: It is larger; the message does not name it.
    """
    with path.open("rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ValueError(f"expected at most {limit_bytes} bytes, got more")
    return data


def decoded(data: bytes) -> str:
    """A text as editors and systems store it: UTF-8 or UTF-16 with a mark, UTF-8 without, else Latin-1."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_yaml(path: Path, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:  # noqa: ANN401 - as YAML is
    """The content of a YAML file, as :func:`parse_yaml` takes it.

    Args:
        path: The file, in what :func:`decoded` takes.
        loader: A safe one.

    Raises:
        OSError: It cannot be read.
        ConfigError: It is no YAML, or beyond the limits.
    """
    try:
        text = decoded(read_limited(path, MOST_TEXT_BYTES))
    except ValueError as error:
        raise ConfigError(f"{path} cannot be taken: {error}; write it plainly") from error
    return parse_yaml(text, str(path), loader)


def parse_yaml(text: str, origin: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:  # noqa: ANN401
    """Read a text in YAML: plain values, of a limited number, depth and length; no key stands twice.

    Aliases are taken, and counted as what they stand for: ten lines of ten aliases each would else be a
    thousand million values.

    Args:
        text: To parse.
        origin: What to call it in an error.
        loader: A safe one.

    Raises:
        ConfigError: It is no YAML, or beyond the limits.
    """
    try:
        reader = loader(text)
        try:
            node = _composed(reader, text, loader)
            return None if node is None else reader.construct_document(node)
        finally:
            reader.dispose()
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    except (ValueError, TypeError, OverflowError) as error:  # a date of month 13, too, and a limit
        raise ConfigError(f"{origin} cannot be taken: {error}; write it plainly") from error


def compose_yaml(text: str) -> yaml.Node | None:
    """Return the nodes of a text in YAML, which know their lines; None for an empty text.

    Raises:
        yaml.YAMLError: It is no YAML.
        ValueError: It is beyond the limits of :func:`parse_yaml`.
    """
    reader = yaml.SafeLoader(text)
    try:
        return _composed(reader, text, yaml.SafeLoader)
    finally:
        reader.dispose()


def _composed(reader: yaml.SafeLoader, text: str, loader: type[yaml.SafeLoader]) -> yaml.Node | None:
    _check_nesting(loader, text)
    node = reader.get_single_node()
    if node is not None:
        _count(node, {})
    return node


def _check_nesting(loader: type[yaml.SafeLoader], text: str) -> None:
    """The composer recurses; the events before it do not."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, loader)):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"expected values at most {_DEEPEST} deep, got deeper ones")
        if count > 2 * MOST_VALUES:
            raise ValueError(f"expected at most {MOST_VALUES} values, got more")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _LONGEST:
            raise ValueError(f"expected texts of at most {_LONGEST} characters, got a longer one")


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Count the values of a node, with every alias in it written out."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise ValueError("expected plain values, got one that holds itself")
        return known[id(node)]
    known[id(node)] = 0  # as long as it is not counted
    if isinstance(node, yaml.MappingNode):
        _require_each_key_once(node)
        count = 1 + sum(_count(key, known) + _count(value, known) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        count = 1 + sum(_count(item, known) for item in node.value)
    else:
        count = 1
    if count > MOST_VALUES:
        raise ValueError(f"expected at most {MOST_VALUES} values, got more, with what aliases repeat")
    known[id(node)] = count
    return count


def _require_each_key_once(node: yaml.MappingNode) -> None:
    seen: set[Hashable] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if (key.tag, key.value) in seen:
                raise ValueError(
                    f"the key {key.value[:80]!r} stands twice, again in line {key.start_mark.line + 1}"
                )
            seen.add((key.tag, key.value))
