"""What a source or a sink may offer besides is asked by its protocol; what it lacks is not made up."""

from __future__ import annotations

import ast
import inspect
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import danet_runtime
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.pixel_formats import BGR, Pixels, StatesPixels, pixels_of
from danet_runtime.results.result import Result
from danet_runtime.sinks.protocol import abilities as of_sinks
from danet_runtime.sinks.protocol.sink import Sink, StreamFormat
from danet_runtime.sources.protocol import abilities as of_sources
from danet_runtime.sources.protocol.damage import DamageCount
from danet_runtime.sources.protocol.source import FrameInfo, Source

ROOT = Path(danet_runtime.__file__).parent


class BareSource:
    """What a source must have, and no more."""

    size_hw, fps, count, live = (48, 64), None, None, True

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        return None

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None: ...


class AbleSource(BareSource):
    """All that a source may have besides."""

    name = "able"
    pixels = Pixels("nv12")
    sample_aspect_ratio = Fraction(4, 3)
    is_variable = True
    awaited = "it is dark"
    damage = DamageCount()

    def reopen(self) -> None: ...

    def interrupt(self) -> None: ...

    def await_opening(self, size_hw: tuple[int, int], why: str) -> None: ...


class BareSink:
    """What a sink must have, and no more."""

    name = "bare"

    def open(self, stream_format: StreamFormat) -> None: ...

    def write(self, result: Result) -> None: ...

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None: ...


class AbleSink(BareSink):
    """All that a sink may have besides."""

    unflushed_s, unsent, reconnects, recovers, on_quit = 2.5, 3, True, False, None

    def __init__(self) -> None:
        self.holes = ["the third"]

    def adopt(self, stream_format: StreamFormat) -> None: ...


def protocols_in(module: Any) -> list[type]:
    defined = [
        one for _, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == module.__name__
    ]
    return [one for one in defined if getattr(one, "_is_protocol", False)]


SOURCE_ABILITIES = (*protocols_in(of_sources), StatesPixels)
SINK_ABILITIES = protocols_in(of_sinks)


def members_of(protocol: type) -> set[str]:
    named = {
        *protocol.__annotations__,
        *(name for name, one in vars(protocol).items() if not name.startswith("_")),
    }
    return {name for name in named if not name.startswith("_")}


def test_what_a_source_says_is_taken_and_what_it_does_not_say_is_not_made_up() -> None:
    bare, able = BareSource(), AbleSource()
    assert isinstance(bare, Source)
    assert (of_sources.aspect_of(bare), of_sources.is_variable(bare), pixels_of(bare)) == (1, False, BGR)
    assert (of_sources.why_awaited(bare), of_sources.damage_of(bare)) == (None, None)
    assert (of_sources.aspect_of(able), of_sources.is_variable(able)) == (Fraction(4, 3), True)
    assert (of_sources.why_awaited(able), pixels_of(able)) == ("it is dark", Pixels("nv12"))
    assert of_sources.damage_of(able) is able.damage


def test_what_a_sink_says_is_taken_and_what_it_does_not_say_is_not_made_up() -> None:
    bare, able = BareSink(), AbleSink()
    assert isinstance(bare, Sink)
    assert (of_sinks.unflushed_s(bare), of_sinks.unsent(bare), list(of_sinks.holes_of(bare))) == (0, 0, [])
    assert not of_sinks.comes_back(bare)
    assert (of_sinks.unflushed_s(able), of_sinks.unsent(able)) == (2.5, 3)
    assert list(of_sinks.holes_of(able)) == ["the third"]
    assert of_sinks.comes_back(able)
    assert not of_sinks.may_recover(able)


@pytest.mark.parametrize("ability", SOURCE_ABILITIES, ids=lambda one: one.__name__)
def test_a_source_has_an_ability_where_it_fits_the_protocol(ability: type) -> None:
    assert isinstance(AbleSource(), ability)
    assert not isinstance(BareSource(), ability)


@pytest.mark.parametrize("ability", SINK_ABILITIES, ids=lambda one: one.__name__)
def test_a_sink_has_an_ability_where_it_fits_the_protocol(ability: type) -> None:
    assert isinstance(AbleSink(), ability)
    assert not isinstance(BareSink(), ability)


def test_nothing_asks_for_an_ability_by_its_bare_name() -> None:
    names = set().union(*(members_of(one) for one in (*SOURCE_ABILITIES, *SINK_ABILITIES)))
    assert {"reopen", "damage", "pixels", "adopt", "holes", "recovers", "on_quit"} <= names
    asked = [
        f"{file.relative_to(ROOT)}: {ast.unparse(node)}"
        for file in sorted(ROOT.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr")
        if isinstance(node.args[1], ast.Constant) and node.args[1].value in names
    ]
    assert asked == []
