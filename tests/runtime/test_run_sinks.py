"""`danet run` says at the end which output got nothing, and its exit code tells it too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_parts import report_of, sink_of
from stream_parts import Camera, Echo, Record, stream_of, until

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.commands.sink_verdicts import failed_sinks, impaired_sinks
from danet_runtime.errors import SinkError
from danet_runtime.report import StreamReport
from danet_runtime.result import Result


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
    told = report.cameras[0]["sinks"][0]
    assert f"source.push-0: {told['failed']} of {told['failed'] + told['written']} writes failed" in line


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
