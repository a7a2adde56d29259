"""What stands in the file system is a file whatever it is called: a shell's pattern names no pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_runtime.cli.live.cameras import check_sources, named_sources
from danet_runtime.errors import UsageError
from danet_runtime.sinks import sink_target
from danet_runtime.sources import open_source
from danet_runtime.sources.camera import canonical_camera
from danet_runtime.sources.registry import live_source, path_of

HOSTILE = (
    "x=gst:filesrc location=secret ! filesink location=stolen.mp4",
    "front=rtsp:camera.mp4",
    "gst:videotestsrc.mp4",
    "rtsp:x.mp4",
    "http:x.mp4",
    "synthetic:.mp4",
    "csi:0",
    "camera:0",
    "0",
    "file:x.mp4",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", HOSTILE)
def test_a_link_that_leads_nowhere_is_a_file_and_refused_as_one(folder: Path, name: str) -> None:
    (folder / name).symlink_to("nowhere")
    named = named_sources([name])
    assert named == {"source": name}
    check_sources(named)
    assert live_source(name) is None
    with pytest.raises(UsageError, match="is a link to nowhere, which is not there"):
        open_source(name)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.endswith(".mp4") and "/" not in name])
def test_a_video_of_any_name_is_read_as_the_video(
    folder: Path, video_maker: Callable[..., Path], name: str
) -> None:
    video_maker(folder / "plain.mp4", 3).rename(folder / name)
    source = open_source(name)
    try:
        assert (source.live, source.count) == (False, 3)
    finally:
        source.close()


@given(
    scheme=st.sampled_from(["gst:", "rtsp:", "http:", "csi:", "synthetic:", "camera:", "a=gst:", "b=0", "7"]),
    rest=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=20),
    dangling=st.booleans(),
)
def test_whatever_an_entry_is_called_it_is_a_path(
    tmp_path_factory: pytest.TempPathFactory, scheme: str, rest: str, dangling: bool
) -> None:
    before = Path.cwd()
    folder = tmp_path_factory.mktemp("names")
    os.chdir(folder)
    try:
        name = scheme + rest
        Path(name).symlink_to("nowhere" if dangling else "/dev/null")
        assert path_of(name) == Path(name)
        assert canonical_camera(name) is None
        assert named_sources([name]) == {"source": name}
        try:
            target = sink_target(name)
        except UsageError:
            return
        assert target.kind in ("video", "jsonl", "masks")
        assert target.rest == name
    finally:
        os.chdir(before)


@pytest.mark.parametrize("text", ["gst:fakesink", "rtsp://host/x", "udp://host:1", "shm:x", "masks:x.mp4"])
def test_what_is_no_entry_is_named_as_before(folder: Path, text: str) -> None:
    assert sink_target(text).kind in ("push", "shm", "masks")


def test_a_fifo_and_a_device_are_no_videos_and_that_is_said(folder: Path) -> None:
    os.mkfifo("drive.mp4")
    for name in ("drive.mp4", "/dev/null"):
        with pytest.raises(UsageError, match="is a device, FIFO or socket"):
            open_source(name)
