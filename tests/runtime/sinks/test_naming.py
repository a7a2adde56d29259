"""How a text names a sink, and that no secret in it is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from danet_runtime import sinks
from danet_runtime.errors import UsageError
from danet_runtime.sinks import Sink, open_sink


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("out.mp4", "video"),
        ("file:out.mkv", "video"),
        ("a/out.jsonl", "jsonl"),
        ("jsonl:results.txt", "jsonl"),
        ("jsonl:/dev/stdout", "jsonl"),
        ("masks", "masks"),
        ("masks:a/b.c", "masks"),
        ("window:", "window"),
        ("udp://127.0.0.1:5000", "push"),
        ("rtsp://server:8554/street", "push"),
        ("gst:fakesink", "push"),
        ("shm:front", "shm"),
        ("shm:front?frame=1", "shm"),
    ],
)
def test_a_text_names_a_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    sink = open_sink(text)
    assert isinstance(sink, Sink)
    assert sink.name == kind
    assert list(tmp_path.iterdir()) == []  # nothing is made before the stream starts
    sink.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("out.gif", "is no sink; expected a video file"),
        ("ftp://driver:hunter2@host/x", r"ftp://\*\*\*@host/x"),
        ("", "is no sink"),
        ("json:out", "is no sink; .* a folder of masks that is called so is masks:json:out"),
        ("masks:", "needs a folder"),
        ("jsonl:", "needs a path"),
        ("gst:", "needs a pipeline"),
        ("udp://host", "expected udp://HOST:PORT"),
        ("udp://host:99999", "out of range"),
        ("rtsp:///street", "expected rtsp://HOST/PATH"),
        ("rtsp://driver:hunter2@host/a b", "no quotes"),
        ("shm:", "expected a name"),
        ("shm:../x", "expected a name"),
        ("shm:x?frames=1", "expected options of frame"),
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        open_sink(text)
    assert "hunter2" not in str(refused.value)


def test_the_classes_that_programs_use_are_here() -> None:
    assert sinks.CallbackSink.__module__ == "danet_runtime.sinks.callback"
    assert sinks.SharedMaskReader.__module__ == "danet_runtime.sinks.shared.memory"
    with pytest.raises(AttributeError):
        sinks.Nothing  # noqa: B018
