"""Every key of a training configuration and of a stream's options, as the classes that check them say."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel

from benchmarks.tables.text import markdown
from danet_runtime.sinks.registry import SINKS
from danet_runtime.sources.registry import SOURCES
from danet_runtime.stream.state.fallback import FallbackRules
from danet_runtime.stream.state.options import StreamOptions
from danet_train.config.sections import OhemConfig
from danet_train.model.backbones.registry import BACKBONES
from danet_train.model.config import DANetConfig
from danet_train.training.config import TrainConfig

_HEADER = ["key", "values", "default", "meaning"]
_LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def training(_results: Path) -> str:
    """The keys of a run, then those of its sections, each with its section in front."""
    top = TrainConfig.model_fields
    sections = {
        name: type(field.default) for name, field in top.items() if isinstance(field.default, BaseModel)
    }
    parts = ["## A run", _of_model(TrainConfig, "", leave_out={*sections, "published"})]
    for name, section in sections.items():
        parts += [f"## `{name}`", _first_line(section), _of_model(section, f"{name}.")]
        if section is DANetConfig:
            for backbone in BACKBONES:
                parts += [f"With `backbone: {backbone.name}` also:", _of_model(backbone.options, "model.")]
        if name == "loss":
            parts += ["`loss.ohem`, where it is not null:", _of_model(OhemConfig, "loss.ohem.")]
    published = top["published"].annotation
    (published,) = [kind for kind in getattr(published, "__args__", ()) if kind is not type(None)]
    parts += ["## `published`", _first_line(published), _of_model(published, "published.")]
    return "\n\n".join(parts)


def stream(_results: Path) -> str:
    """The fields of ``StreamOptions``, and the options of sources and sinks that are named by a URI."""
    parts = ["### `StreamOptions`", _of_dataclass(StreamOptions, leave_out={"fallback"})]
    parts += ["### `StreamOptions.fallback`", _of_dataclass(FallbackRules)]
    parts.append("### Sources and sinks by name")
    rows = [
        [f"`{one.statement.name}`", kind, _cell(one.statement.explained)]
        for kind, registry in (("source", SOURCES), ("sink", SINKS))
        for one in registry
    ]
    parts.append(markdown(["name", "", "how it is written"], rows).replace("---:", "---"))
    return "\n\n".join(parts)


def attributes_of(kind: type) -> Mapping[str, str]:
    """Name: what it means, from the section ``Attributes:`` of a class's docstring."""
    _, _, section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        if entry := re.match(r" {4}(\w[\w, ]*): (.*)", line):
            names = entry[1].split(", ")
            found.update(dict.fromkeys(names, entry[2]))
        elif line.strip():
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
    return found


def _of_model(kind: type[BaseModel], prefix: str, leave_out: set[str] | None = None) -> str:
    meanings = attributes_of(kind)
    rows = []
    for name, field in kind.model_fields.items():
        if name in (leave_out or ()):
            continue
        default = "required" if field.is_required() else _value(field.default)
        limits = ", ".join(_limits(field.metadata))
        values = ", ".join(filter(None, (_type(field.annotation), limits)))
        rows.append([f"`{prefix}{name}`", values, default, _meaning(kind, name, meanings)])
    return markdown(_HEADER, rows).replace("---:", "---")


def _of_dataclass(kind: type[Any], leave_out: set[str] | None = None) -> str:
    meanings, types = attributes_of(kind), get_type_hints(kind)
    rows = [
        [
            f"`{entry.name}`",
            _type(types[entry.name]).replace("null", "None"),
            f"`{entry.default}`",
            _meaning(kind, entry.name, meanings),
        ]
        for entry in dataclasses.fields(kind)
        if entry.name not in (leave_out or ())
    ]
    return markdown(_HEADER, rows).replace("---:", "---")


def _limits(metadata: list[Any]) -> Iterator[str]:
    for limit in metadata:
        for name, sign in _LIMITS.items():
            if (value := getattr(limit, name, None)) is not None:
                yield f"{sign} {'2^63 - 1' if value == 2**63 - 1 else value}"


def _type(annotation: Any) -> str:  # noqa: ANN401 - whatever stands in an annotation
    """A type as a reader of YAML writes it."""
    text = re.sub(r"\b(?:typing|types|pydantic)\.|<class '([\w.]+)'>", r"\1", str(annotation))
    text = re.sub(r"Annotated\[(\w+), FieldInfo\([^()]*(?:\([^()]*\)[^()]*)*\)\]", r"\1", text)
    text = re.sub(r"\bNone\b|\bNoneType\b", "null", text)
    text = re.sub(r"Literal\[(.*?)\]", lambda found: found[1].replace("'", "").replace(", ", " or "), text)
    text = re.sub(r"\btuple\[(.*)\]", r"[\1]", text)
    return re.sub(r"(?:\w+\.)+(\w+)", r"\1", text).replace("|", "or")


def _value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return f"`{str(value).lower().replace('none', 'null')}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _meaning(kind: type, name: str, meanings: Mapping[str, str]) -> str:
    if name not in meanings:
        raise SystemExit(f"{kind.__name__} says nothing of {name} in its docstring's section Attributes")
    return _cell(re.sub(r":\w+:`([\w.]+)`", r"`\1`", meanings[name]).replace("``", "`"))


def _first_line(kind: type) -> str:
    return _cell(inspect.cleandoc(kind.__doc__ or "").splitlines()[0].replace("``", "`"))


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
