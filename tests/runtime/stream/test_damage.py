"""Damaged frames: counted, told while they come, delivered only where asked for, no reason to start anew."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from stream_parts import Camera, Echo, stream_of, until

from danet_runtime.errors import SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.sinks.json_lines import JsonLinesSink
from danet_runtime.sources import FrameInfo
from danet_runtime.sources.protocol.damage import DamageCount


class Damaged(Camera):
    """A camera over a line that spoils its frames for a while: they are left out, or marked."""

    def __init__(self, marks: bool = False) -> None:
        super().__init__()
        self.damage = DamageCount()
        self.spoilt = False
        self.marks = marks
        self.interrupts = 0
        self.over = threading.Event()

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        while self.spoilt and not self.marks:
            self.damage.add("lost packets")
            if self.over.wait(0.01):
                raise SourceError("interrupted")
        info = super().read_into(buffer)
        if info is None or not self.spoilt:
            return info
        self.damage.add("lost packets")
        return replace(info, damage="lost packets")

    def interrupt(self) -> None:
        self.interrupts += 1
        self.over.set()

    def reopen(self) -> None:
        self.over.clear()
        super().reopen()


def states(events: Sequence) -> list[tuple[str, str]]:
    return [(event.state, "; ".join(event.reasons)) for event in events]


def test_a_camera_that_sends_only_damaged_frames_is_degraded_not_stuck_and_ready_again_after_them(
    segmenter_with: Callable,
) -> None:
    camera = Damaged()
    options = {"source_timeout_s": 0.2, "damage_shown_s": 0.2, "stale_after_s": 60.0}
    with stream_of(segmenter_with(Echo()), camera, **options) as stream:
        until(lambda: stream.health.state == "ready")
        camera.spoilt = True
        until(lambda: stream.health.state == "degraded")
        until(lambda: camera.damage.total > 60)  # three times as long as a source may be silent
        assert camera.interrupts == 0
        assert "sends damaged frames" in stream.health.reasons[0]
        assert "lost packets" in stream.health.reasons[0]
        camera.spoilt = False
        until(lambda: stream.health.state == "ready")
    report = stream.report()
    assert report.frames_damaged == camera.damage.total == report.cameras[0]["damaged"]["lost packets"]
    assert report.cameras[0]["reconnects"] == 0


def test_masks_that_grow_old_meanwhile_are_stale(segmenter_with: Callable) -> None:
    camera = Damaged()
    with stream_of(segmenter_with(Echo()), camera, stale_after_s=0.2) as stream:
        until(lambda: stream.health.state == "ready")
        camera.spoilt = True
        until(lambda: stream.health.state == "stale")
        camera.spoilt = False
        until(lambda: stream.health.state in ("degraded", "ready"))


def test_a_camera_without_a_key_frame_for_too_long_is_opened_again(segmenter_with: Callable) -> None:
    camera = Damaged()
    options = {"source_timeout_s": 0.1, "key_frame_timeout_s": 0.3, "reconnect_first_s": 0.01}
    with stream_of(segmenter_with(Echo()), camera, **options) as stream:
        until(lambda: stream.health.state == "ready")
        camera.spoilt = True
        until(lambda: camera.reopened > 0)
        camera.spoilt = False
    assert stream.report().cameras[0]["reconnects"] >= 1


def test_a_damaged_frame_that_was_asked_for_is_marked_and_never_ready(
    segmenter_with: Callable, tmp_path: Path
) -> None:
    camera = Damaged(marks=True)
    sink = JsonLinesSink(tmp_path / "lines.jsonl")
    with stream_of(segmenter_with(Echo()), camera, [sink]) as stream:
        until(lambda: stream.health.state == "ready")
        until(lambda: stream.frames_out > 5)
        results = iter(stream)
        camera.spoilt = True
        while (result := next(results)).damage is None:
            pass
        assert result.health == "degraded"
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    marks = {(line["damage"], line["health"]) for line in lines}
    assert ("lost packets", "degraded") in marks
    assert ("lost packets", "ready") not in marks
    assert (None, "ready") in marks
