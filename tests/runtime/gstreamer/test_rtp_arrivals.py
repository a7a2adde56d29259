"""When pictures came: by the kernel where datagrams bring them, and not before a backlog is through."""

from __future__ import annotations

import socket
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtp_packets import packet

from danet_runtime.gstreamer.rtp_arrivals import Arrivals, Settling, stamp_by_kernel

MS = 1_000_000


@given(
    step=st.integers(10, 100),
    queued=st.integers(0, 20),
    pause=st.integers(0, 6),
    late=st.integers(0, 2000),
    jitter=st.randoms(use_true_random=False),
)
def test_nothing_is_dated_while_what_had_piled_up_comes_out(
    step: int, queued: int, pause: int, late: int, jitter: object
) -> None:
    times = [number * step * MS for number in range(4 * queued + 12)]
    opened = max(0, times[queued] - step * MS // 2)
    arrivals, free = [], 0
    for number, at in enumerate(times):
        quick = jitter.randrange(step * MS // 10 + 1)  # type: ignore[attr-defined]
        free = max(at + quick, opened, free + (pause * step * MS // 10 if number < queued else 0))
        arrivals.append(free + late * MS)
    settling = Settling()
    dated = [settling.is_over(at, came) for at, came in zip(times, arrivals, strict=True)]
    assert dated[-1]
    assert dated == sorted(dated)
    best = min(came - at for at, came in zip(times, arrivals, strict=True))
    first = dated.index(True)
    if arrivals[first] - arrivals[0] <= 1000 * MS:
        assert arrivals[first] - times[first] - best < step * MS / 2


def test_a_stream_that_is_never_calm_is_dated_after_a_second() -> None:
    settling = Settling()
    dated = [settling.is_over(40 * MS * number, 20 * MS * number) for number in range(60)]
    assert dated.index(True) == 51


def test_a_picture_came_when_its_first_packet_did() -> None:
    arrivals = Arrivals()
    for sequence, came in ((0, 100), (1, 200)):
        arrivals.note(packet(b"abc", sequence, 3600, 7, is_last=False), came)
    assert arrivals.of(packet(b"abc", 2, 3600, 7, is_last=True)) == 100
    assert arrivals.of(packet(b"abc", 2, 3600, 8, is_last=True)) is None
    assert arrivals.of(b"short") is None


def test_the_kernel_notes_when_a_datagram_came_however_late_it_is_read() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as ours, socket.socket(type=socket.SOCK_DGRAM) as theirs:
        ours.bind(("127.0.0.1", 0))
        stamp_by_kernel(ours.fileno())
        # The kernel begins to stamp soon after the first socket asks; what came before is dated when read.
        for _ in range(20):
            before_ns = time.time_ns()
            theirs.sendto(b"picture", ours.getsockname())
            after_ns = time.time_ns()
            time.sleep(0.05)
            _, ancillary, _, _ = ours.recvmsg(100, 100)
            if not ancillary:
                pytest.skip("this kernel stamps no datagrams")
            seconds, rest = struct.unpack("qq", ancillary[0][2][:16])
            if before_ns <= seconds * 10**9 + rest <= after_ns:
                break
        else:
            pytest.fail("each of 20 datagrams was dated when it was read")
