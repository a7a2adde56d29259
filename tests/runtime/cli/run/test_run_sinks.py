"""`danet run` says at the end which output got nothing, and its exit code tells it too."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_parts import RunningCommand, frames_of, lines_of, report_of, sink_of
from stream_parts import Camera, Echo, Frames, Record, stream_of, until

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.cli.live.sink_verdicts import failed_sinks, impaired_sinks
from danet_runtime.errors import SinkError
from danet_runtime.results.result import Result
from danet_runtime.sources.gstreamer import has_element
from danet_runtime.stream.report import StreamReport


class Failing(Record):
    """Fails every write, or every other, with an error of many lines; and comes back, as a network does."""

    name = "push"
    reconnects = True

    def __init__(self, every: int) -> None:
        super().__init__()
        self._every = every
        self.calls = 0

    def write(self, result: Result) -> None:
        self.calls += 1
        if self.calls % self._every == 0:
            raise SinkError("the network\n  is\n  away")
        super().write(result)


def test_standard_output_holds_nothing_but_the_lines_that_were_sent_there(
    danet: Callable[..., Any], bundle: Bundle
) -> None:
    source = "synthetic:?size=48x64&fps=0&frames=3"
    done = danet("run", bundle.path, source, "--sink", "jsonl:/dev/stdout")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["frame_id"] for line in done.stdout.splitlines()] == [0, 1, 2]
    assert "Frames (source ended" in done.stderr


def report_with(bundle: Bundle, *sinks: Any) -> StreamReport:
    segmenter = Segmenter(bundle, backend=Echo())
    with stream_of(segmenter, Camera(), list(sinks), policy="latest", sink_failures=3) as stream:
        until(lambda: all(getattr(sink, "calls", 9) > 8 for sink in sinks))
    return stream.report()


def test_an_output_that_got_nothing_is_told_in_one_line_with_its_last_reason(bundle: Bundle) -> None:
    report = report_with(bundle, Record(), Failing(every=1))
    failed = report.cameras[0]["sinks"][1]["failed"]
    (line,) = failed_sinks(report)
    assert line.startswith(f"source.push: nothing got through, {failed} of {failed} writes failed")
    assert line.endswith("; last: the network is away")
    assert impaired_sinks(report) == []


def test_an_output_with_holes_is_told_and_is_no_failure(bundle: Bundle) -> None:
    report = report_with(bundle, Failing(every=2), Failing(every=10**9))
    assert failed_sinks(report) == []
    (line,) = impaired_sinks(report)
    row = report.cameras[0]["sinks"][0]
    assert f"source.push-0: {row['failed']} of {row['failed'] + row['written']} writes failed" in line


def test_an_output_that_was_given_up_is_told(bundle: Bundle) -> None:
    segmenter = Segmenter(bundle, backend=Echo())
    sink = Record(fail_at=2)
    stream = stream_of(segmenter, Camera(), [sink, Record()], policy="latest", sink_failures=3)
    with pytest.raises(SinkError, match="the disk is full"), stream:
        until(lambda: stream.report().cameras[0]["sinks"][0]["given_up"])
    (line,) = failed_sinks(stream.report())
    assert "source.record-0 was given up: 3 of 5 writes failed" in line
    assert line.endswith("; last: the disk is full")


def test_a_stream_whose_outputs_all_worked_says_nothing(bundle: Bundle) -> None:
    report = report_with(bundle, Record(), Record())
    assert failed_sinks(report) + impaired_sinks(report) == []


class Recovering(Record):
    """Fails until it is told to work, and says that this may pass."""

    name = "video"
    recovers = True

    def __init__(self) -> None:
        super().__init__()
        self.works = threading.Event()
        self.holes: list[str] = []
        self.tried = 0

    def write(self, result: Result) -> None:
        self.tried += 1
        if not self.works.is_set():
            raise SinkError("the disk is full")
        if not self.holes:
            self.holes.append("out.mp4 was cut; it goes on in out-0001.mp4")
        super().write(result)


def test_a_file_waits_for_an_output_that_may_work_again_and_loses_nothing(bundle: Bundle) -> None:
    sink = Recovering()
    stream = stream_of(Segmenter(bundle, backend=Echo()), Frames(20), [sink])
    with stream:
        until(lambda: sink.tried > 3)
        assert "source.video fails: the disk is full" in stream.health.reasons
        sink.works.set()
        for _ in stream:
            pass
    assert sink.ids == list(range(20))
    report = stream.report()
    assert (report.cameras[0]["sinks"][0]["failed"], report.ending) == (0, "source ended")
    assert "source.video is not whole: out.mp4 was cut" in str(report.health["events"])


def test_a_file_waits_no_longer_than_it_may(bundle: Bundle) -> None:
    sink = Recovering()
    stream = stream_of(Segmenter(bundle, backend=Echo()), Frames(20), [sink], sink_recovery_s=0.1)
    with pytest.raises(SinkError, match="the disk is full"):
        stream.run()
    assert "source.video was given up" in failed_sinks(stream.report())[0]


def test_a_camera_waits_for_no_output_and_none_that_may_work_again_is_given_up(bundle: Bundle) -> None:
    sink = Recovering()
    with stream_of(Segmenter(bundle, backend=Echo()), Camera(), [sink], sink_failures=3) as stream:
        until(lambda: sink.tried > 10)
        sink.works.set()
        until(lambda: len(sink.ids) > 3)
        assert "source.video fails: the disk is full" not in stream.health.reasons
    row = stream.report().cameras[0]["sinks"][0] | {"holes": sink.holes}
    assert row["failed"] >= 10
    assert not row["given_up"]
    (line,) = failed_sinks(stream.report())
    assert line.startswith(f"source.video is not whole: {row['failed']} of ")


def test_the_exit_code_tells_that_every_result_was_too_late(
    danet: Callable, bundle: Bundle, tmp_path: Path
) -> None:
    source = "synthetic:?size=48x64&fps=50&frames=20"
    outputs = ("--sink", "out.jsonl", "-o", "out.mp4", "--report", "r.json")
    done = danet("run", bundle.path, source, "--deadline-ms", 0.001, "--late", "drop", *outputs)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("danet: error:")]
    late = report_of(tmp_path / "r.json")["frames"]["late_dropped"]
    assert f"source: nothing got through to its outputs: all {late} results were late" in line
    assert late > 0
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.skipif(not has_element("rtspclientsink"), reason="GStreamer's rtspclientsink is not installed")
def test_an_rtsp_receiver_that_was_never_there_got_nothing(
    danet: Callable, bundle: Bundle, tmp_path: Path
) -> None:
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        uri = f"rtsp://127.0.0.1:{taken.getsockname()[1]}/street"
        source = "synthetic:?size=48x64&fps=50&frames=30"  # all of it fits into a pipe
        done = danet("run", bundle.path, source, "--sink", uri, "--report", "r.json")
    assert done.returncode == 1
    report = report_of(tmp_path / "r.json")
    row = sink_of(report, "push")
    assert (row["written"], row["frames"]) == (0, 0)
    assert row["failed"] + row["dropped"] == report["frames"]["out"] > 0
    assert "source.push: nothing got through" in done.stderr


@pytest.mark.slow
def test_outputs_that_are_removed_on_the_way_are_told_and_go_on(
    request: pytest.FixtureRequest, bundle: Bundle, tmp_path: Path
) -> None:
    outputs = ("-o", "d/out.mp4", "--masks", "masks", "--sink", "jsonl:d/out.jsonl", "--report", "r.json")
    command = RunningCommand(tmp_path / "out", bundle.path, "synthetic:?size=48x64&fps=50", *outputs)
    request.addfinalizer(command.kill)
    folder = command.folder
    command.ready().until(lambda: [*folder.glob("masks/f*.png")] and [*folder.glob("d/out.mp4")])
    for gone in ("d", "masks"):
        (folder / gone).rename(tmp_path / gone)  # nothing is written into it while it is removed
        shutil.rmtree(tmp_path / gone)
    command.until(lambda: (folder / "d/out-0001.mp4").exists() and (folder / "d/out-0001.jsonl").exists())
    command.until(lambda: "masks was" in command.messages and "goes on in d/out-0001.mp4" in command.messages)
    assert command.end(signal.SIGTERM) == 1
    report = report_of(folder / "r.json")
    for kind, name in (("video", "d/out.mp4"), ("jsonl", "d/out.jsonl"), ("masks", "masks")):
        # Whichever comes first: the sink looks for its file, or needs the folder, for a part or for a flush.
        missing = "No such file or directory"
        flush = f"{name} cannot be flushed to the disk: {missing}"
        ways = (f"{name} was ", f"{name} cannot be written: {missing}", flush)
        hole = sink_of(report, kind)["holes"][0]
        assert hole.startswith(ways)
        assert f"danet: error: source.{kind} is not whole: {hole}" in command.messages
    assert "written: d/out.mp4" not in command.printed
    assert frames_of(folder / "d/out-0001.mp4") > 0
    assert len(lines_of(folder / "d/out-0001.jsonl")) > 0
    command.leaves_nothing()


@pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="GStreamer is not installed")
def test_the_exit_code_tells_of_an_output_that_got_nothing(
    danet: Callable, bundle: Bundle, tmp_path: Path
) -> None:
    source = "synthetic:?size=720x1280&fps=20&frames=30"  # a frame is more than a pipe holds
    outputs = ("--sink", "gst:nosuchelement", "--sink", "out.jsonl", "--report", "r.json")
    done = danet("run", bundle.path, source, *outputs)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("danet: error:")]
    assert line.startswith("danet: error: source.push: nothing got through")
    assert 'no element "nosuchelement"' in line
    report = report_of(tmp_path / "r.json")
    assert (sink_of(report, "push")["written"], report["ending"]) == (0, "source ended")
    assert sink_of(report, "jsonl")["written"] > 0
    assert np.isfinite(report["fps"])
