"""Ages of a real camera around a pause of the processes that read it, against the time in its pictures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from process_parts import children_of
from rtsp_camera import CameraRules, RtspCamera

from danet_runtime.bundle import Bundle
from danet_runtime.sources.gstreamer import has_element

pytestmark = [
    pytest.mark.slow,  # a camera and a command for each way to stand still
    pytest.mark.skipif(not has_element("rtspsrc"), reason="needs GStreamer's rtspsrc"),
]

SUPPORT = Path(__file__).resolve().parents[2] / "support"
PAUSE_S = 2.5
ERROR_MS = 20.0
"""By how much a frame may be called younger than it is."""
_FIRST = 10
"""Frames at the start, whose delay nobody knows yet."""

DRIVE = """
import json, sys, threading
import truth
from danet_runtime import Segmenter
from danet_runtime.sinks.callback import CallbackSink
from danet_runtime.sources import open_source
from stream_parts import Echo, stream_of
seen = []
def look(result):
    shown = truth.read(result.frame)
    if shown is not None:
        too_young_ms = (result.capture_time_ns - shown.time_ns) / 1e6
        seen.append((shown.number, result.age_ms, too_young_ms, result.health))
        if len(seen) == 20:
            print("runs", flush=True)
stream = stream_of(Segmenter(sys.argv[1], backend=Echo()), open_source(sys.argv[2]), [CallbackSink(look)])
with stream:
    sys.stdin.readline()
reasons = [reason for event in stream.health.events for reason in event.reasons]
print(json.dumps({"seen": seen, "reasons": reasons, "error": stream.report().error}))
"""


def paused(bundle: Bundle, uri: str, with_children: bool) -> dict[str, Any]:
    """What a stream of a camera saw that stood still for a while in the middle."""
    reader = subprocess.Popen(
        [sys.executable, "-c", DRIVE, str(bundle.path), uri],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SUPPORT)},
        text=True,
    )
    try:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "runs\n"
        pids = [reader.pid, *(children_of(reader.pid) if with_children else [])]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(PAUSE_S)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(3.0)
        done: dict[str, Any] = json.loads(reader.communicate("end\n", timeout=30)[0])
    finally:
        with suppress(ProcessLookupError):
            reader.kill()
        reader.wait()
    return done


@pytest.mark.parametrize(
    ("over", "with_children"), [("udp", False), ("tcp", True)], ids=["the parent, UDP", "all processes, TCP"]
)
def test_no_frame_of_an_rtsp_camera_is_called_younger_than_it_is_after_a_standstill(
    bundle: Bundle, watchdog: Callable[[int], None], over: str, with_children: bool
) -> None:
    watchdog(60)
    with RtspCamera(CameraRules(key_every=25, offers_udp=over == "udp")) as camera:
        done = paused(bundle, camera.uri, with_children)
    assert done["error"] is None
    assert any("the process stood still for " in reason for reason in done["reasons"])
    seen = done["seen"]
    assert max(too_young_ms for _, _, too_young_ms, _ in seen[_FIRST:]) < ERROR_MS
    assert [age_ms for _, age_ms, _, health in seen if age_ms > 1000 and health == "ready"] == []
    numbers = [number for number, *_ in seen]
    assert numbers == sorted(set(numbers))
    assert seen[-1][1] < 1000  # and it has caught up
