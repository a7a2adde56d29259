"""Every command, signalled as a whole process group at a few random moments; the benchmark takes many."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.commands.group_signals import COMMANDS, attempt, duration_s, moments, prepare

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads /proc"),
]
TIMES = 4


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    prepare(folder)
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_it_ends_as_written_and_leaves_nothing_half(name: str, inputs: Path, tmp_path: Path) -> None:
    duration = duration_s(name, inputs, tmp_path / "whole")
    for number, (kind, after_s) in enumerate(moments(f"test {name}", TIMES, duration)):
        ending = attempt(name, inputs, tmp_path / str(number), kind, after_s)
        assert ending.problems == (), ending
