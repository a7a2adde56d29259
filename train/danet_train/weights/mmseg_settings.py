"""The settings in the text of a mmsegmentation file's own configuration, read without running it.

0.x keeps the text in ``meta["config"]``, 1.x in ``meta["cfg"]``: Python, of which only values written out are
taken: numbers, strings, lists, ``dict(...)``, and names that the text gave such a value before.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from danet_train.config.sections import Normalisation
from danet_train.errors import CheckpointError

_KEYS = ("cfg", "config")
_LONGEST: Final = 1 << 19  # characters; mmsegmentation's own take some ten thousand
_ALIGN = re.compile(r"align_corners[\"']?\s*[=:]\s*(True|False|true|false)\b")
_UNREAD: Final = object()
"""Stands in place of a value that is not plain."""

_AT_STRIDE_8: Final[Mapping[str, object]] = {
    "strides": (1, 2, 1, 1),
    "dilations": (1, 1, 2, 4),
    "contract_dilation": True,
    "style": "pytorch",
}
"""Settings of this project's backbone that no tensor shows, by mmsegmentation's names."""


@dataclass(frozen=True)
class FileSettings:
    """Settings that no tensor shows, from the file's own configuration.

    Attributes:
        align_corners: Whether logits are upsampled with aligned corners; None where it is not stated.
        multi_grid: Dilations of layer4; None for (2, 4, 4), or where they are not stated.
        normalisation: Normalisation of the image; None where it is not stated.
        notes: One sentence for each setting that was read, or could not be read.
    """

    align_corners: bool | None = None
    multi_grid: tuple[int, ...] | None = None
    normalisation: Normalisation | None = None
    notes: tuple[str, ...] = ()


def settings_of_meta(meta: object) -> FileSettings:
    """Read the settings that a file's ``meta`` states.

    Raises:
        CheckpointError: The configuration is of another network than this project's, or of BGR pictures.
    """
    if not isinstance(meta, dict):
        return FileSettings()
    key = next((key for key in _KEYS if isinstance(meta.get(key), str | dict) and meta[key]), None)
    if key is None:
        return FileSettings()
    written, where = meta[key], f"meta.{key}"
    read = _values_of(written) if isinstance(written, str) else written
    if read is None:
        return _found_in_text(written, where)
    model = _section(read, "model")
    backbone, head = _section(model, "backbone"), _section(model, "decode_head")
    _check_backbone(backbone, where)
    notes = []
    align = head.get("align_corners")
    if isinstance(align, bool):
        notes.append(f"align_corners is {align}, as the file's own configuration says ({where})")
    elif align is None and "type" in head and "_base_" not in read:
        align = False
        notes.append(
            f"align_corners is False, which is mmsegmentation's default: the file's own configuration "
            f"({where}) leaves it out"
        )
    else:
        found = _found_in_text(written, where) if isinstance(written, str) else FileSettings()
        align = found.align_corners
        notes.extend(found.notes)
    grid = backbone.get("multi_grid")
    multi_grid = tuple(grid) if isinstance(grid, list) and all(type(item) is int for item in grid) else None
    if multi_grid is not None:
        dilations = ",".join(map(str, multi_grid))
        notes.append(f"layer4 has the dilations {dilations}, as the file's own configuration says ({where})")
    normalisation = _normalisation(read, model, where)
    if normalisation not in (None, Normalisation()):
        notes.append(f"the normalisation is {normalisation}, as the file's own configuration says ({where})")
    return FileSettings(align, multi_grid, normalisation, tuple(notes))


def _found_in_text(text: str, where: str) -> FileSettings:
    """Find align_corners alone, in a text that is no Python or takes its head from elsewhere."""
    values = {found.lower() for found in _ALIGN.findall(text[:_LONGEST])}
    if len(values) == 1:
        align = values == {"true"}
        note = f"align_corners is {align}, found in the text of the file's own configuration ({where})"
        return FileSettings(align, notes=(note,))
    why = "says both True and False" if values else "does not say it where it can be read without being run"
    return FileSettings(notes=(f"align_corners could not be read: the file's configuration ({where}) {why}",))


def _check_backbone(backbone: Mapping[str, Any], where: str) -> None:
    for key, expected in _AT_STRIDE_8.items():
        stated = backbone.get(key, expected)
        stated = tuple(stated) if isinstance(stated, list) else stated
        if stated is not _UNREAD and stated != expected:
            raise CheckpointError(
                f"the file's own configuration ({where}) has backbone.{key} {stated!r}, where this network "
                f"has {expected!r}: its weights would compute something else here; give weights of a DANet "
                "at stride 8"
            )


def _normalisation(read: Mapping[str, Any], model: Mapping[str, Any], where: str) -> Normalisation | None:
    for section in (
        _section(model, "data_preprocessor"),
        _section(read, "data_preprocessor"),
        _section(read, "img_norm_cfg"),
    ):
        mean, std = section.get("mean"), section.get("std")
        if not isinstance(mean, list) or not isinstance(std, list):
            continue
        if section.get("to_rgb", section.get("bgr_to_rgb")) is False:
            raise CheckpointError(
                f"the file's own configuration ({where}) gives the network pictures in BGR, this project's "
                "takes RGB; turn the input channels of the first convolution round where the file was made"
            )
        try:
            return Normalisation.model_validate({"mean": mean, "std": std})
        except ValidationError as error:
            message = error.errors()[0]["msg"]
            raise CheckpointError(
                f"the file's own configuration ({where}) has a normalisation that is none: {message}"
            ) from error
    return None


def _section(above: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    held = above.get(key)
    return held if isinstance(held, dict) else {}


def _values_of(text: str) -> dict[str, Any] | None:
    """Return the values of the names that ``text`` assigns; None where it is no Python, or too long."""
    if len(text) > _LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings
            lines = ast.parse(text).body
        values: dict[str, Any] = {}
        for line in lines:
            if isinstance(line, ast.Assign) and len(line.targets) == 1:
                target = line.targets[0]
                if isinstance(target, ast.Name):
                    values[target.id] = _value(line.value, values)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return values


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any value of the text
    """Return a plain value, with tuples and sets as lists; ``_UNREAD`` where code would have to be run."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_value(item, known) for item in node.elts]
    if isinstance(node, ast.Name):
        return known.get(node.id, _UNREAD)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand, known)
        return -value if isinstance(value, int | float) else _UNREAD
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return _mapping([(key and _value(key, known), _value(value, known)) for key, value in pairs])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        first = [(None, _value(argument, known)) for argument in node.args]
        return _mapping([*first, *((item.arg, _value(item.value, known)) for item in node.keywords)])
    return _UNREAD


def _mapping(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Return the pairs whose key is a string; one without a key holds more of them, as ``**`` gives them."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key is None and isinstance(value, dict):
            made |= value
        elif isinstance(key, str):
            made[key] = value
    return made
