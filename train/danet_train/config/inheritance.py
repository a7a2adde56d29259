"""Settings in layers: a file over its ``base:``, ``key=value`` over the file; and messages about errors."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from danet_train.errors import ConfigError
from danet_train.files.limited import parse_yaml, read_yaml

if TYPE_CHECKING:
    from pydantic import ValidationError

_FOLDER = Path(str(files("danet_train"))) / "configs"
CLASS_TABLES = _FOLDER / "classes"
"""The folder of the packaged class tables but Cityscapes'."""
_OWN = "published"
"""The section that is not inherited: scores of the base do not hold for what begins from it."""

_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads ``1e-3`` as a number.

    YAML 1.2 (section 10.3.2) has it so; PyYAML follows YAML 1.1, where a float needs a point and the exponent
    a sign, and 1e-3 is a word.
    """


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    "-+.0123456789",
)


def packaged_names() -> list[str]:
    """Return the names of the packaged configurations, in order."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def packaged_class_tables() -> list[str]:
    """Return the names of the packaged class tables, in order; Cityscapes' is in no file of this package."""
    return sorted(["cityscapes", *(path.stem for path in CLASS_TABLES.glob("*.yaml"))])


def find_config(name_or_path: str) -> Path:
    """Return the file of a packaged configuration, or else the file at that path.

    Raises:
        ConfigError: There is neither.
    """
    packaged = _FOLDER / f"{name_or_path}.yaml"
    path = Path(name_or_path) if "/" in name_or_path or not packaged.is_file() else packaged
    if not path.is_file():
        raise ConfigError(
            f"there is no configuration {name_or_path!r}; give a YAML file or one of: "
            f"{', '.join(packaged_names())}"
        )
    return path


def read_settings(path: Path, assignments: Sequence[str] = ()) -> dict[str, Any]:
    """Read the settings of a YAML file over those of its ``base:``, and so on down.

    ``base:`` is the name of a packaged configuration, or the path of a file, relative to the file that names
    it. A mapping is merged with the base's key by key, ``null`` included; anything else replaces.

    Args:
        path: The file.
        assignments: Settings that replace the file's, each as ``optimiser.lr=0.02``: a key with a value in
            YAML.

    Raises:
        ConfigError: A file is no mapping in YAML, a base is not there, or a file is its own base; or an
            assignment is none, or two are of one key.
    """
    merged: dict[str, Any] = {}
    for settings in reversed(list(_lineage(path))):
        merged.pop(_OWN, None)
        merged = _over(merged, settings)
    for settings in _assigned(assignments):
        merged = _over(merged, settings)
    return merged


def _assigned(assignments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the setting of each assignment, as a mapping of mappings."""
    earlier: dict[str, str] = {}
    for text in assignments:
        key, _, value = text.partition("=")
        if _KEY.fullmatch(key) is None or not value.strip():
            raise ConfigError(
                f"expected KEY=VALUE, e.g. optimiser.lr=0.02, or =null for none (got {text!r:.60})"
            )
        if key in earlier:
            raise ConfigError(f"{key} is set twice, by {earlier[key]!r:.60} and {text!r:.60}; leave one out")
        earlier[key] = text
        setting = parse_yaml(value, f"the value of {key}", _Loader)
        for name in reversed(key.split(".")):
            setting = {name: setting}
        yield setting


def _lineage(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the settings of a file, of its base, of that one's base, ..."""
    chain: list[Path] = []
    while True:
        if path.resolve() in chain:
            circle = " -> ".join(str(place) for place in [*chain, path.resolve()])
            raise ConfigError(f"{chain[0]} is its own base: {circle}; take one 'base:' out")
        chain.append(path.resolve())
        settings = _read_mapping(path)
        base = settings.pop("base", None)
        yield settings
        if base is None:
            return
        path = _find_base(base, path)


def _find_base(base: object, of: Path) -> Path:
    if not isinstance(base, str):
        raise ConfigError(f"{of}: base must be the name of a configuration or a path, not {base!r:.60}")
    beside = of.parent / base
    path = beside if beside.is_file() else _FOLDER / f"{base}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"{of}: there is no base {base!r}; give a file relative to this one ({beside}), or one of: "
            f"{', '.join(packaged_names())}"
        )
    return path


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _over(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def _read_mapping(path: Path) -> dict[str, Any]:
    content = read_yaml(path, _Loader)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must be a mapping of settings, not {content!r:.60}")
    return content


def explain(source: str, error: ValidationError) -> ConfigError:
    """Return the first findings of ``error`` as a ConfigError that names ``source`` (a file or a call)."""
    findings = []
    for finding in error.errors()[:3]:
        where = ".".join(str(part) for part in finding["loc"]) or "the whole"
        if finding["type"] == "extra_forbidden":
            findings.append(f"unknown key {where!r}; remove it or correct its spelling")
        else:
            findings.append(f"{where}: {finding['msg']} (got {reprlib.repr(finding['input'])})")
    more = error.error_count() - len(findings)
    return ConfigError(f"{source}: " + "; ".join(findings) + (f"; and {more} more" if more > 0 else ""))
