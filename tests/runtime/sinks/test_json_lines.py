"""JSON lines: what each says, and that a kill or a full disk leaves whole lines."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sink_parts import result, run_and_kill
from stream_parts import Camera, Echo, Record, stream_of, until

from danet_runtime.errors import SinkError, UsageError
from danet_runtime.files import targets
from danet_runtime.results.result import Result, label_counts
from danet_runtime.sinks import Sink, StreamFormat
from danet_runtime.sinks.json_lines import JsonLinesSink

FRAME = np.zeros((48, 64, 3), np.uint8)


def test_a_line_says_when_how_old_how_healthy_and_how_much_of_what(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    path = tmp_path / "new" / "out.jsonl"
    sink = JsonLinesSink(path)
    assert isinstance(sink, Sink)
    sink.open(stream_format())
    labels = np.zeros((48, 64), np.uint8)
    labels[:12] = 3
    labels[12:18] = 255
    sink.write(
        Result(
            FRAME,
            labels,
            7,
            123456789,
            12.34567,
            {"inference": 5.5},
            source="front",
            late=True,
            health="degraded",
        )
    )
    (line,) = path.read_text().splitlines()  # there before the sink is closed
    assert json.loads(line) == {
        "frame_id": 7,
        "source": "front",
        "name": None,
        "capture_time_ns": 123456789,
        "capture_clock": "arrival",
        "media_time_ms": None,
        "age_ms": 12.346,
        "late": True,
        "health": "degraded",
        "damage": None,
        "stages_ms": {"inference": 5.5},
        "shares": {"road": 30 / 48, "car": 12 / 48},
        "unlabelled": 6 / 48,
    }
    sink.close()
    sink.close()
    assert sink.describe() == {"kind": "jsonl", "path": str(path), "frames": 1}
    with pytest.raises(SinkError, match="not open"):
        sink.write(result(FRAME))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 5000))))
def test_the_counts_of_the_labels_are_numpys(labels: np.ndarray) -> None:
    np.testing.assert_array_equal(label_counts(labels), [(labels == label).sum() for label in range(256)])


def test_the_lines_of_a_killed_process_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    run_and_kill(
        """
        import numpy as np, sys
        from danet_runtime.results.result import Result, label_counts
        from danet_runtime.sinks.protocol.sink import StreamFormat
        from danet_runtime.sinks.json_lines import JsonLinesSink
        sink = JsonLinesSink(sys.argv[1])
        sink.open(StreamFormat((4, 4), None, [], np.zeros((256, 3), np.uint8)))
        number = 0
        while True:
            sink.write(Result(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), number, 0, 0.0, {}))
            number += 1
            if number == 200:
                print("ready", flush=True)
        """,
        path,
    )
    *lines, rest = path.read_text().split("\n")
    assert [json.loads(line)["frame_id"] for line in lines] == list(range(len(lines)))
    assert len(lines) >= 200
    assert rest == "" or not rest.endswith("}")


def test_a_line_that_does_not_fit_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    printed = run_and_kill(
        """
        import numpy as np, resource, signal, sys
        from danet_runtime.errors import SinkError
        from danet_runtime.results.result import Result, label_counts
        from danet_runtime.sinks.protocol.sink import StreamFormat
        from danet_runtime.sinks.json_lines import JsonLinesSink
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        sink = JsonLinesSink(sys.argv[1])
        sink.open(StreamFormat((4, 4), None, [], np.zeros((256, 3), np.uint8)))
        failed, frame = 0, np.zeros((4, 4, 3), np.uint8)
        for number in range(20):
            try:
                sink.write(Result(frame, frame[..., 0].copy(), number, 0, 0.0, {}))
            except SinkError:
                failed += 1
        print(sink.describe()["frames"], failed, "ready", flush=True)
        """,
        path,
    )
    written, failed = map(int, printed.split()[:2])
    assert written + failed == 20
    assert failed > 0
    assert [json.loads(line)["frame_id"] for line in path.read_text().splitlines()] == list(range(written))


def test_a_file_that_exists_is_kept_and_one_without_lines_is_not(
    tmp_path: Path, stream_format: Callable[..., StreamFormat]
) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        JsonLinesSink(path)
    sink = JsonLinesSink(path, overwrite=True)
    sink.open(stream_format())
    sink.close()
    assert not path.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_counted_and_told_and_the_other_sinks_go_on(segmenter_with: Callable) -> None:
    full, good = JsonLinesSink("/dev/full", overwrite=True), Record()
    stream = stream_of(segmenter_with(Echo()), Camera(), [full, good], sink_failures=5)
    with pytest.raises(SinkError, match="/dev/full cannot be written: No space left on device"), stream:  # noqa: PT012
        until(lambda: stream.report().cameras[0]["sinks"][0]["given_up"])
        before = len(good.ids)
        until(lambda: len(good.ids) > before + 10)
    row = stream.report().cameras[0]["sinks"][0]
    assert (row["frames"], row["written"], row["failed"]) == (0, 0, 5)
    assert any("No space left" in reason for event in stream.health.events for reason in event.reasons)


def test_a_fifo_gets_the_lines_once_somebody_reads_it(
    tmp_path: Path, stream_format: Callable[..., StreamFormat], monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "out.jsonl"
    os.mkfifo(fifo)
    monkeypatch.setattr(targets, "READER_WAIT_S", 0.1)
    sink = JsonLinesSink(fifo)
    with pytest.raises(SinkError, match="nobody has opened this FIFO for reading within"):
        sink.open(stream_format())
    sink.close()
    monkeypatch.undo()
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()), daemon=True)
    reader.start()
    sink = JsonLinesSink(fifo)
    sink.open(stream_format())
    sink.write(result(FRAME, 4))
    sink.close()
    reader.join(10)
    assert json.loads(read[0])["frame_id"] == 4
    assert fifo.is_fifo()
