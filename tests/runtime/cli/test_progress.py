"""How far a work is, where there is no terminal: a line every ten seconds."""

from __future__ import annotations

import io
from types import ModuleType

import pytest
from rich.console import Console

from danet_runtime.cli.console import progress as of_runtime
from danet_runtime.cli.console.loudness import silenced
from danet_train.cli import progress as of_train


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def lines(module: ModuleType, clock: list[float], *, terminal: bool = False) -> list[str]:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=80)
    with module.ShownProgress(console, "scoring", 100) as shown:
        for done in range(1, 101):
            clock[0] += 1.0
            shown(done)
    return written.getvalue().splitlines()


@pytest.mark.parametrize("module", [of_runtime, of_train])
def test_without_a_terminal_a_line_comes_every_ten_seconds_with_the_time_that_is_left(
    module: ModuleType, clock: list[float]
) -> None:
    written = lines(module, clock)
    assert len(written) == 10
    assert written[0] == "scoring: 10 of 100, about 2 min left"
    assert written[4] == "scoring: 50 of 100, about 50 s left"
    assert written[-1] == "scoring: 100 of 100, about 0 s left"


def test_a_quiet_command_tells_nothing_of_its_progress(clock: list[float]) -> None:
    with silenced(True):
        assert lines(of_runtime, clock) == []


def test_another_part_of_the_work_has_its_own_time(clock: list[float]) -> None:
    written = io.StringIO()
    with of_runtime.ShownProgress(Console(file=written, width=80), "first") as shown:
        shown(0, 4)
        clock[0] = 100.0
        shown(0, 10, "second")
        clock[0] = 120.0
        shown(2)
    assert written.getvalue().splitlines()[-1] == "second: 2 of 10, about 80 s left"
