"""How far a work is, where there is no terminal: a line every ten seconds."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from danet_runtime.cli.console import progress as of_runtime
from danet_runtime.cli.console.loudness import silenced
from danet_runtime.cli.console.printing import progress_console, tell


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def work(console: Console, clock: list[float]) -> None:
    with of_runtime.ShownProgress(console, "scoring", 100) as shown:
        for done in range(1, 101):
            clock[0] += 1.0
            shown(done)


def test_without_a_terminal_a_line_comes_every_ten_seconds_with_the_time_that_is_left(
    clock: list[float],
) -> None:
    out = io.StringIO()
    work(Console(file=out, width=80), clock)
    written = out.getvalue().splitlines()
    assert len(written) == 10
    assert written[0] == "scoring: 10 of 100, about 2 min left"
    assert written[4] == "scoring: 50 of 100, about 50 s left"
    assert written[-1] == "scoring: 100 of 100, about 0 s left"


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_quiet_command_tells_nothing_of_its_progress_and_lets_warnings_through(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(Console, "is_terminal", is_terminal)
    with silenced(True):
        console = progress_console()
        with of_runtime.ShownProgress(console, "scoring", 2) as shown:
            clock[0] = 20.0
            shown(1)
            tell("danet: warning: it is dark", err=True)
    assert capsys.readouterr().err == "danet: warning: it is dark\n"


def test_another_part_of_the_work_has_its_own_time(clock: list[float]) -> None:
    written = io.StringIO()
    with of_runtime.ShownProgress(Console(file=written, width=80), "first") as shown:
        shown(0, 4)
        clock[0] = 100.0
        shown(0, 10, "second")
        clock[0] = 120.0
        shown(2)
    assert written.getvalue().splitlines()[-1] == "second: 2 of 10, about 80 s left"
