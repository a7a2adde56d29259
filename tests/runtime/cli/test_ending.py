"""The report of a run that failed before its stream ran."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from danet_runtime.cli.live.ending import start_reported
from danet_runtime.cli.live.interruption import signals_as_interrupt
from danet_runtime.errors import BackendError


def load_a_library() -> None:
    """As native code does: it makes an error of its own of a signal that comes while it is loaded."""
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt as error:
        raise BackendError("its initialisation failed") from error


def test_a_start_that_fails_has_its_report(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    with (
        signals_as_interrupt(),
        pytest.raises(BackendError),
        start_reported(report, tmp_path / "bundle"),
    ):
        raise BackendError("no such library")
    assert json.loads(report.read_text())["ending"] == "failed"


def test_a_start_that_was_interrupted_has_none_whatever_a_library_made_of_the_signal(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    with (
        signals_as_interrupt(),
        pytest.raises(BackendError),
        start_reported(report, tmp_path / "bundle"),
    ):
        load_a_library()
    assert not report.exists()
