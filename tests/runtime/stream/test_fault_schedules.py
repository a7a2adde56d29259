"""Random schedules of faults: whatever comes in whatever order, the stream keeps its promises.

The promises are those of :mod:`stream_promises`; one that does not hold is named with the seed of
its schedule, which is the test's own parameter. This runs one again, with the same steps::

    pytest "tests/runtime/stream/test_fault_schedules.py::test_the_stream_keeps_its_promises[17]"

Steps meet the stream's threads at other moments each time: run one that failed several times.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_schedules import Drive
from filling_disk import FillingDisk
from suspension import Suspension

from danet_runtime.bundle import Bundle

FAST, ALL = 25, 500


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Suspension]:
    suspension = Suspension(monkeypatch)
    yield suspension
    suspension.forget()


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=[pytest.mark.slow] if seed >= FAST else []) for seed in range(ALL)],
)
def test_the_stream_keeps_its_promises(
    seed: int, bundle: Bundle, tmp_path: Path, machine: Suspension
) -> None:
    drive(seed, bundle, tmp_path / "run", machine)


def drive(seed: int, bundle: Bundle, folder: Path, machine: Suspension) -> None:
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        Drive(seed, bundle, folder, machine, FillingDisk(patch, folder / "outputs")).run()
