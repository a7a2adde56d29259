"""Flight recordings in their folder: the newest stay whatever the clock says, storms of requests make few."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_parts import result, run_and_kill
from stream_parts import until
from typer.testing import CliRunner

from danet_runtime.cli.commands.replay import replay as replay_command
from danet_runtime.files.partials import partial_folder
from danet_runtime.recorder import writer as blackbox_writer
from danet_runtime.recorder.format import MANIFEST_NAME, recordings_in
from danet_runtime.recorder.reader import FlightRecording
from danet_runtime.recorder.recorder import FlightRecorder
from danet_runtime.results.health import HealthEvent
from danet_runtime.sinks import StreamFormat

FORMAT = StreamFormat((8, 8), 25.0, (), np.zeros((256, 3), np.uint8))
FAULT = HealthEvent(1, 1, "fault", "ready", ("it hangs",))
NOW = 1_800_000_000
DAY = 86_400


def opened(folder: Path, **options: object) -> FlightRecorder:
    box = FlightRecorder(folder, **options)  # type: ignore[arg-type]
    box.open(FORMAT)
    box.write(result(np.zeros((8, 8, 3), np.uint8)))
    return box


@pytest.fixture
def opener() -> Iterator[Callable[..., FlightRecorder]]:
    boxes = []

    def open_one(folder: Path, **options: object) -> FlightRecorder:
        boxes.append(opened(folder, **options))
        return boxes[-1]

    yield open_one
    for box in boxes:
        box.close()


def reasons(folder: Path) -> list[str]:
    return [FlightRecording(box).manifest.reason for box in recordings_in(folder)]


@settings(max_examples=15, deadline=None)
@given(clock=st.lists(st.integers(-3650, 3650), min_size=1, max_size=6), keep=st.integers(1, 4))
def test_the_boxes_that_were_written_last_are_kept_wherever_the_clock_was_set(
    clock: list[int], keep: int
) -> None:
    real = time.gmtime
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for number, days in enumerate(clock):
            seconds = NOW + days * DAY
            patch.setattr(time, "time_ns", lambda seconds=seconds: seconds * 10**9)
            patch.setattr(time, "gmtime", lambda seconds=seconds: real(seconds))
            box = opened(Path(folder), keep=keep)  # each in a run of its own, as a supervisor starts them
            box.request(f"box {number}")
            box.close()
        assert reasons(Path(folder)) == [f"box {number}" for number in range(len(clock))][-keep:]


def as_before(box: Path, name: str) -> Path:
    """What a version before the numbers, and before the names of models, had written."""
    manifest = json.loads((box / MANIFEST_NAME).read_text())
    del manifest["number"]
    for frame in manifest["frames"]:
        del frame["model"], frame["labels_hw"]
    (box / MANIFEST_NAME).write_text(json.dumps({**manifest, "schema_version": 1}))
    return box.rename(box.with_name(name))


def test_boxes_of_versions_before_are_read_listed_before_and_removed_before_the_others(
    tmp_path: Path, opener: Callable[..., FlightRecorder]
) -> None:
    for name, reason in (("blackbox-20990101T000000-000001-signal", "b"), ("blackbox-2026", "a")):
        as_before(opener(tmp_path).save(tmp_path / "new", reason), name)
    box = opener(tmp_path, keep=2)
    box.request("c")
    assert box.finish()
    assert reasons(tmp_path) == ["b", "c"]
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        path.name for path in recordings_in(tmp_path)
    ]
    app = typer.Typer()
    app.command()(replay_command)
    listing = CliRunner().invoke(app, [str(tmp_path)])
    assert listing.exit_code == 0
    assert [line.rsplit("; ")[-1] for line in listing.output.splitlines()[1:]] == ["b", "c"]


def test_numbers_grow_over_runs_also_where_boxes_were_removed_and_stand_in_name_and_manifest(
    tmp_path: Path, opener: Callable[..., FlightRecorder]
) -> None:
    box = opener(tmp_path)
    for _ in range(2):
        box.request("signal")
        box.finish()
    for written in box.written:
        for file in written.rglob("*.*"):
            file.unlink()
    box.request("signal")
    box.finish()
    box.close()
    again = opener(tmp_path)
    again.request("signal")
    again.finish()
    names = [path.name for path in (box.written[-1], again.written[0])]
    assert [name[:17] for name in names] == ["blackbox-n000003-", "blackbox-n000004-"]
    assert [FlightRecording(tmp_path / name).manifest.number for name in names] == [3, 4]


class Gate:
    """Holds up the writing of a box, which asks for its context."""

    def __init__(self) -> None:
        self.reached, self.go = threading.Semaphore(0), threading.Event()
        self.most_threads = 0

    def context(self) -> dict[str, int]:
        self.reached.release()
        self.go.wait(30)
        return {}


def writers() -> int:
    return sum(thread.name == "danet-flight-recorder-write" for thread in threading.enumerate())


def test_requests_that_come_while_a_box_is_written_are_answered_by_one_more(
    tmp_path: Path, opener: Callable[..., FlightRecorder]
) -> None:
    gate = Gate()
    before = writers()
    box = opener(tmp_path, context=gate.context)
    box.request("signal")
    assert gate.reached.acquire(timeout=20)
    for _ in range(200):
        box.request("signal")
    assert writers() - before <= 1
    gate.go.set()
    box.finish()
    assert len(box.written) == 2
    assert len(recordings_in(tmp_path)) == 2


def test_requests_that_come_soon_after_each_other_wait_for_the_end_of_the_pause(
    tmp_path: Path, opener: Callable[..., FlightRecorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blackbox_writer, "APART_S", 0.2)
    box = opener(tmp_path)
    began = time.monotonic()
    box.request("first")
    until(lambda: box.written)
    for _ in range(50):
        box.request("more")
    until(lambda: len(box.written) == 2)
    assert time.monotonic() - began >= 0.2
    assert reasons(tmp_path) == ["first", "more"]


def test_a_fault_waits_for_no_pause(tmp_path: Path, opener: Callable[..., FlightRecorder]) -> None:
    box = opener(tmp_path)
    box.request("signal")
    until(lambda: box.written)
    box.request("signal")
    box.note(FAULT)
    until(lambda: len(box.written) == 2)
    assert reasons(tmp_path) == ["signal", "fault: it hangs"]


def test_requests_end_where_they_have_taken_their_room_and_faults_do_not(
    tmp_path: Path, opener: Callable[..., FlightRecorder]
) -> None:
    box = opener(tmp_path, megabytes=0.0002)
    for _ in range(6):
        box.request("signal")
        box.finish()
    figures = box.describe()
    assert figures["refused"] > 0
    assert len(figures["written_to"]) + figures["refused"] == 6
    assert figures["unwritten"] == []
    box.note(FAULT)
    box.finish()
    assert reasons(tmp_path)[-1] == "fault: it hangs"


def test_where_the_oldest_make_room_requests_do_not_end(
    tmp_path: Path, opener: Callable[..., FlightRecorder]
) -> None:
    box = opener(tmp_path, megabytes=0.0002, keep=2)
    for _ in range(6):
        box.request("signal")
        box.finish()
    assert box.describe()["refused"] == 0
    assert [FlightRecording(path).manifest.number for path in recordings_in(tmp_path)] == [5, 6]


def test_after_the_end_a_request_is_ignored_and_a_fault_is_not(
    tmp_path: Path, opener: Callable[..., FlightRecorder]
) -> None:
    box = opener(tmp_path)
    box.close()
    until(lambda: not writers())
    box.request("signal")
    box.finish()
    assert recordings_in(tmp_path) == []
    box.note(FAULT)
    box.finish()
    assert reasons(tmp_path) == ["fault: it hangs"]
    until(lambda: not writers())


def test_a_request_before_the_box_is_open_is_answered_when_it_is(tmp_path: Path) -> None:
    box = FlightRecorder(tmp_path)
    box.request("early")
    box.open(FORMAT)
    box.close()
    assert reasons(tmp_path) == ["early"]


def test_a_box_that_a_killed_process_was_writing_is_removed_by_the_next_run_and_counted(
    tmp_path: Path, opener: Callable[..., FlightRecorder], caplog: pytest.LogCaptureFixture
) -> None:
    run_and_kill(
        """
        import sys, time
        import numpy as np
        from danet_runtime.recorder.recorder import FlightRecorder
        from danet_runtime.sinks.protocol.sink import StreamFormat
        def hang():
            print("ready", flush=True)
            time.sleep(60)
        box = FlightRecorder(sys.argv[1], context=hang)
        box.open(StreamFormat((8, 8), None, (), np.zeros((256, 3), np.uint8)))
        box.request("signal")
        time.sleep(60)
        """,
        tmp_path,
    )
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / ".mine.partial").mkdir()
    with partial_folder(tmp_path / "blackbox-n000007-of-another-run") as living:
        figures = opener(tmp_path).describe()
        assert living.exists()
    assert figures["leftovers_removed"] == 1
    assert "a process that was killed had not finished it" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [".mine.partial"]


def test_a_program_that_ends_at_once_after_a_request_leaves_a_whole_box(tmp_path: Path) -> None:
    script = """
        import sys
        import numpy as np
        from danet_runtime.recorder.recorder import FlightRecorder
        from danet_runtime.sinks.protocol.sink import StreamFormat
        box = FlightRecorder(sys.argv[1])
        box.open(StreamFormat((8, 8), None, (), np.zeros((256, 3), np.uint8)))
        box.request("signal")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), tmp_path], check=True, timeout=60)
    assert reasons(tmp_path) == ["signal"]


def test_a_handler_may_ask_at_any_moment_of_the_main_thread(tmp_path: Path) -> None:
    """Between any two steps of another request, of a thread's start, of the log's and of the health's."""
    script = """
        import logging, os, signal, sys, threading, time
        import numpy as np
        from danet_runtime.recorder.recorder import FlightRecorder
        from danet_runtime.results.health import HealthEvent
        from danet_runtime.sinks.protocol.sink import StreamFormat
        asked = 0
        def handler(*_):
            global asked
            asked += 1
            box.request("signal")
        box = FlightRecorder(sys.argv[1])
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        box.open(StreamFormat((8, 8), None, (), np.zeros((256, 3), np.uint8)))
        while asked < 2000:
            box.request("main")
            threading.Thread(target=lambda: None).start()
            logging.getLogger("test").warning("a line")
            box.note(HealthEvent(1, 1, "ready", "ready", ()))
            box.figures() if asked % 7 == 0 else None
            box.finish() if asked % 1000 == 0 else None
        signal.setitimer(signal.ITIMER_REAL, 0)
        box.close()
        print(len(box.written), box.unwritten)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), tmp_path],
        check=True, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    count, rest = done.stdout.split(maxsplit=1)
    assert 1 <= int(count) <= 10
    assert rest == "[]\n"


def test_children_do_not_end_by_a_request_that_went_to_all_processes_of_a_service() -> None:
    """As `systemctl kill --signal USR1` does."""
    script = "from danet_runtime.processes.lifeline import read_message; print(read_message(), flush=True)\n"
    script += "import time; time.sleep(60)"
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"1\na")
    child.stdin.flush()
    assert child.stdout.readline() == b"['a']\n"
    os.kill(child.pid, signal.SIGUSR1)
    child.stdin.close()  # it ends with its parent, and of nothing else
    assert child.wait(20) == -signal.SIGKILL
    child.stdout.close()
