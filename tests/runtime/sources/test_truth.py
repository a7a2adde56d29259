"""The pictures that other tests go by tell what is whole from what is not."""

from __future__ import annotations

import cv2
import pytest
import truth

from danet_runtime.clock import now_ns


@pytest.mark.parametrize("size_hw", [(48, 64), (128, 256)])
@pytest.mark.parametrize("quality", [75, 95])
def test_a_picture_tells_its_number_and_time_after_a_codec(size_hw: tuple[int, int], quality: int) -> None:
    before_ns = now_ns()
    data = cv2.imencode(".jpg", truth.draw(4711, size_hw=size_hw), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    shown = truth.read(cv2.imdecode(data, cv2.IMREAD_COLOR))
    assert shown is not None
    assert shown.number == 4711
    assert before_ns - 1000 <= shown.time_ns <= now_ns()
    assert 0 <= shown.age_ms < 10_000


def test_a_picture_any_part_of_which_is_of_another_or_grey_is_not_whole() -> None:
    picture, next_one = truth.draw(7, 10**15), truth.draw(8, 10**15)
    assert truth.read(picture) is not None
    for part in (slice(0, 8), slice(112, 128)):
        mixed = picture.copy()
        mixed[part] = next_one[part]
        assert truth.read(mixed) is None
        mixed[part] = 128
        assert truth.read(mixed) is None
