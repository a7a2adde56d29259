"""The clock of ages goes on while the machine sleeps, and what other clocks stamp is brought to it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from suspension import Suspension

from danet_runtime.clock import MonotonicTimes, now_ns
from danet_runtime.results.health import Health
from danet_runtime.results.slot import FrameSlot
from danet_runtime.sources import FrameInfo
from danet_runtime.sources.camera import CameraSource
from danet_runtime.sources.live.paced import PacedSource
from danet_runtime.sources.protocol.gdp import BUFFER, Packet
from danet_runtime.sources.synthetic import SyntheticSource
from danet_runtime.stream.pipeline.frame_checks import WallClockCheck

SECOND = 10**9
DAY_S = 86_400

# In a time namespace the two clocks are as far apart as in a machine that has slept for so long.
APART = """
import json, time
from danet_runtime.clock import MonotonicTimes, now_ns
from danet_runtime.results.slot import FrameSlot
from danet_runtime.sources import FrameInfo
times, stamp = MonotonicTimes(), time.monotonic_ns()
slot = FrameSlot((4, 6))
slot.info = FrameInfo(0, times.now_ns(stamp))
print(json.dumps([now_ns() - time.monotonic_ns(), slot.result().age_ms]))
"""


@pytest.fixture
def suspension(monkeypatch: pytest.MonkeyPatch) -> Iterator[Suspension]:
    machine = Suspension(monkeypatch)
    yield machine
    machine.forget()


def test_it_is_the_kernels_clock_that_a_sleep_does_not_stop_also_where_that_is_a_day_ahead() -> None:
    def apart(*wrapper: str) -> tuple[float, float]:
        done = subprocess.run(
            [*wrapper, sys.executable, "-c", APART], check=True, capture_output=True, text=True
        )
        ahead_ns, age_ms = json.loads(done.stdout)
        return ahead_ns / SECOND, age_ms

    unshare = shutil.which("unshare")
    wrapper = [str(unshare), "--time", "--boottime", str(DAY_S)]
    if unshare is None or subprocess.run([*wrapper, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs unshare of util-linux and the right to make a time namespace")
    here, there = apart(), apart(*wrapper)
    assert there[0] - here[0] == pytest.approx(DAY_S, abs=0.1)
    assert 0 <= there[1] < 1000  # a driver's stamp is as young as it is


def test_a_mask_grows_old_while_the_machine_sleeps(suspension: Suspension) -> None:
    slot = FrameSlot((4, 6))
    slot.info = FrameInfo(0, now_ns())
    suspension.sleep(3600)
    assert slot.result().age_ms == pytest.approx(3_600_000, abs=1000)


def test_a_stamp_from_before_a_sleep_is_of_before_it_and_one_from_after_is_young(
    suspension: Suspension,
) -> None:
    times = MonotonicTimes()
    before_ns = time.monotonic_ns()
    suspension.sleep(100)
    assert (now_ns() - times.now_ns(before_ns)) / SECOND == pytest.approx(100, abs=1)
    assert (now_ns() - times.now_ns(before_ns)) / SECOND == pytest.approx(100, abs=1)  # asked again
    after_ns = time.monotonic_ns()
    assert (now_ns() - times.now_ns(after_ns)) / SECOND == pytest.approx(0, abs=1)
    suspension.sleep(50)
    assert (now_ns() - times.now_ns(after_ns)) / SECOND == pytest.approx(50, abs=1)


def test_a_drivers_frame_that_waited_through_a_sleep_is_old_and_not_of_another_clock(
    suspension: Suspension,
) -> None:
    camera = CameraSource(0, is_open=False)
    camera._begin()

    def captured(stamp_ns: int | None) -> tuple[float, str]:
        at_ns, clock = camera._capture_time(Packet(BUFFER, 0, stamp_ns), now_ns())
        return (now_ns() - at_ns) / SECOND, clock

    assert captured(time.monotonic_ns()) == (pytest.approx(0, abs=1), "sensor")
    waited_ns = time.monotonic_ns()
    suspension.sleep(600)
    assert captured(waited_ns) == (pytest.approx(600, abs=1), "sensor")
    assert captured(time.monotonic_ns()) == (pytest.approx(0, abs=1), "sensor")
    assert captured(time.monotonic_ns() + 3600 * SECOND) == (pytest.approx(0, abs=1), "arrival")
    assert captured(None) == (pytest.approx(0, abs=1), "arrival")


def test_a_stamp_that_was_never_near_this_clock_is_of_another_one() -> None:
    camera = CameraSource(0, is_open=False)
    camera._begin()
    packet = Packet(BUFFER, 0, time.monotonic_ns() - 60 * SECOND)
    assert camera._capture_time(packet, 1234) == (1234, "arrival")


def test_a_sleep_is_no_jump_of_the_wall_clock_and_a_jump_is_one(
    suspension: Suspension, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = Health(())
    health.started()
    check = WallClockCheck(health)
    suspension.sleep(3600)
    check.look()
    assert health.state == "ready"
    wall = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: wall() - 7200 * SECOND)
    check.look()
    assert health.reasons == ("the wall clock jumped by -7200.0 s",)


def test_a_file_that_is_played_in_time_makes_up_for_no_sleep(suspension: Suspension) -> None:
    source = PacedSource(SyntheticSource("synthetic:?size=4x6&fps=50&frames=100"))
    buffer = np.empty((4, 6, 3), np.uint8)
    for _ in range(3):
        source.read_into(buffer)
    suspension.sleep(60)
    before_ns = time.monotonic_ns()
    for _ in range(6):
        source.read_into(buffer)
    assert (time.monotonic_ns() - before_ns) / SECOND >= 4 * 0.02  # one at once, the others at their rate
