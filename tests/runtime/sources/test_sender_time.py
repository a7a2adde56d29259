"""The time that a camera writes beside a picture is believed where it goes like a clock, and nowhere else."""

from __future__ import annotations

import pytest

from danet_runtime.sources.network.sender_time import SenderTime

PICTURE_NS = 40_000_000


def read(texts: list[str]) -> list[int | None]:
    times = SenderTime()
    headers = [{"x-timestamp": text} if text else {} for text in texts]
    return [times.read(header, 5_000_000_000 + PICTURE_NS * number) for number, header in enumerate(headers)]


@pytest.mark.parametrize("start_s", [0.0, 12.5, 1_790_000_000.0])
def test_a_clock_is_believed_after_a_second_whatever_it_counts_from(start_s: float) -> None:
    found = read([f"{start_s + number * 0.04:.6f}" for number in range(50)])
    assert found[:25] == [None] * 25
    assert found[26] == pytest.approx((start_s + 26 * 0.04) * 1e9, abs=1000)
    assert None not in found[26:]


@pytest.mark.parametrize(
    "texts",
    [
        ["7.0"] * 60,  # stands still
        [f"{number // 25}" for number in range(60)],  # whole seconds
        [f"{number * 40}" for number in range(60)],  # milliseconds
        [f"{number * 4e-8:.9f}" for number in range(60)],  # crawls
        [f"{60 - number}" for number in range(60)],  # runs back
        ["-1.0", "nan", "inf", "1e300", "now", ""] * 10,
    ],
)
def test_what_does_not_go_like_a_clock_is_not_believed(texts: list[str]) -> None:
    assert read(texts) == [None] * 60


def test_a_clock_that_was_set_is_watched_anew() -> None:
    before = [f"{100 + number * 0.04:.3f}" for number in range(40)]
    after = [f"{20 + number * 0.04:.3f}" for number in range(40)]
    found = read(before + after)
    assert found[39] is not None
    assert found[40:65] == [None] * 25
    assert found[70] is not None
