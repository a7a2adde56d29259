"""Results are the caller's own by default, views where that is asked for, and read-only either way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from stream_parts import Echo, Frames, stream_of

from danet_runtime import Result, Segmenter, Stream, StreamOptions
from danet_runtime.bundle import Bundle
from danet_runtime.errors import SourceError, UsageError
from danet_runtime.sinks.callback import CallbackSink


def test_a_list_of_a_stream_holds_as_many_different_results_as_there_were_frames(
    segmenter_with: Callable,
) -> None:
    results = list(stream_of(segmenter_with(Echo()), Frames(30)))
    assert [int(result.frame[0, 0, 0]) for result in results] == list(range(30))
    assert [int(result.labels[0, 0]) for result in results] == list(range(30))
    arrays = [array for result in results for array in (result.frame, result.labels)]
    assert not any(np.shares_memory(one, other) for one in arrays for other in arrays if one is not other)


def test_views_share_the_streams_memory_and_copies_do_not(segmenter_with: Callable) -> None:
    for copy in (True, False):
        seen: dict[int, Result] = {}
        sink = CallbackSink(lambda result, seen=seen: seen.setdefault(result.frame_id, result))
        stream = stream_of(segmenter_with(Echo()), Frames(3), [sink], copy=copy)
        with stream:
            for result in stream:
                while result.frame_id not in seen:
                    pass
                shown = seen[result.frame_id]
                assert np.shares_memory(result.frame, shown.frame) == (not copy)
                assert np.shares_memory(result.labels, shown.labels) == (not copy)


@pytest.mark.parametrize("copy", [True, False])
def test_nobody_can_write_to_a_result(segmenter_with: Callable, copy: bool) -> None:
    given: list[Result] = []
    with stream_of(segmenter_with(Echo()), Frames(3), [CallbackSink(given.append)], copy=copy) as stream:
        for result in stream:
            for array in (result.frame, result.labels):
                with pytest.raises(ValueError, match="read-only"):
                    array[:] = 0
        latest = stream.latest(1e9)
    assert latest is not None
    for result in (latest, *given):
        assert not result.frame.flags.writeable
        assert not result.labels.flags.writeable


def test_a_result_says_by_which_model_and_with_which_classes_it_was_labelled(
    segmenter_with: Callable, bundle: Bundle
) -> None:
    (result,) = stream_of(segmenter_with(Echo()), Frames(1))
    assert result.classes == bundle.manifest.classes
    assert result.labelling.model == "echo:fp32"
    assert result.labelling.size_hw == bundle.manifest.frame.size_hw


def test_a_stream_opens_what_a_path_or_text_names(
    bundle: Bundle, picture_maker: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    for number in range(2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture_maker(48, 64, number))
    options = StreamOptions(golden=False)
    with Segmenter(bundle) as segmenter:
        for source in (tmp_path, str(tmp_path), f"file://{tmp_path}/0.png", {"front": tmp_path / "1.png"}):
            results = list(Stream(segmenter, source, options=options))
            assert {result.name for result in results} <= {"0.png", "1.png"}
            assert len(results) in (1, 2)
        assert results[0].source == "front"


def test_a_source_that_was_opened_is_closed_where_the_stream_cannot_be_made(
    bundle: Bundle, tmp_path: Path, picture_maker: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from danet_runtime.sources.images import ImagesSource

    closed = []
    monkeypatch.setattr(ImagesSource, "close", lambda self: closed.append(self))
    cv2.imwrite(str(tmp_path / "0.png"), picture_maker(48, 64))
    with Segmenter(bundle) as segmenter:
        with pytest.raises(UsageError, match="no file or folder"):
            Stream(segmenter, {"front": tmp_path, "rear": tmp_path / "missing"})
        with pytest.raises(UsageError, match="max_frames"):
            Stream(segmenter, tmp_path, max_frames=0)
        (tmp_path / "bad.mp4").write_bytes(b"no video")
        with pytest.raises(SourceError, match=r"bad\.mp4"):
            Stream(segmenter, tmp_path / "bad.mp4")
    assert len(closed) == 2
