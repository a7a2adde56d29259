"""`danet run` with cameras: several at once, deadlines, files at their rate, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from danet_runtime.bundle import Bundle

PATTERN = "synthetic:?size=48x64&fps=50"


def test_cameras_and_files_share_the_model_and_each_has_its_own_output(
    danet: Callable, bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path], video_reader: Callable
) -> None:
    video = video_maker(tmp_path / "in.mp4", 20, (48, 64))
    outputs = ("-o", tmp_path / "out-{camera}.mkv", "--report", tmp_path / "report.json")
    sources = (f"front={PATTERN}&frames=30", f"rear={video}")
    done = danet("run", bundle.path, *sources, *outputs, "--policy", "every", "--deadline-ms", "10000")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert {camera["name"]: camera["frames"]["out"] for camera in report["cameras"]} == {
        "front": 30,
        "rear": 20,
    }
    assert report["frames"]["late"] == 0
    assert report["health"]["state"] == "ready"
    for name, frames in (("front", 30), ("rear", 20)):
        assert len(video_reader(tmp_path / f"out-{name}.mkv")[0]) == frames


def test_a_source_may_be_given_twice(
    danet: Callable, bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path]
) -> None:
    video = video_maker(tmp_path / "in.mp4", 5, (48, 64))
    report = tmp_path / "report.json"
    done = danet("run", bundle.path, *[f"{PATTERN}&frames=5"] * 2, video, video, "--report", report)
    assert done.returncode == 0, done.stderr
    cameras = json.loads(report.read_text())["cameras"]
    assert [camera["frames"]["in"] for camera in cameras] == [5, 5, 5, 5]


def test_a_file_is_played_at_its_rate(
    danet: Callable, bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path]
) -> None:
    video = video_maker(tmp_path / "in.mp4", 25, (48, 64))
    report = tmp_path / "report.json"
    done = danet("run", bundle.path, video, "--realtime", "--report", report)
    assert done.returncode == 0, done.stderr
    told = json.loads(report.read_text())
    assert told["policy"] == "latest"
    assert told["frames"]["in"] == 25
    assert told["duration_s"] == pytest.approx(24 / 25, abs=0.3)


def test_a_camera_that_is_lost_is_told_with_its_reason_and_its_credentials_kept_back(
    danet: Callable, bundle: Bundle, tmp_path: Path
) -> None:
    done = danet("run", bundle.path, "rtsp://me:secret@127.0.0.1:9/x", "--report", tmp_path / "r.json")
    assert done.returncode == 1
    assert "rtsp://***@127.0.0.1:9/x" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((PATTERN, PATTERN, "-o", "out.mp4"), "with several sources --output must hold {camera}"),
        ((f"a={PATTERN}", f"a={PATTERN}"), "two sources are called a"),
        (("synthetic:?speed=1",), "expected options of size, fps, frames"),
        (("synthetic:?size=big",), "expected e.g. synthetic:?size=720x1280"),
        ((PATTERN, "--deadline-ms", "0"), "deadline_ms must be above 0"),
        (("camera:front",), "expected camera:N"),
        (("camera:0", "0"), "camera-0 and camera-1 are both camera:0, and a device gives its frames to one"),
        (("rtsp://",), "expected rtsp://HOST/PATH with the name of a host"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(
    danet: Callable, bundle: Bundle, arguments: tuple[str, ...], words: str
) -> None:
    done = danet("run", bundle.path, *arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


def test_a_ladder_needs_a_deadline(danet: Callable, bundle: Bundle) -> None:
    done = danet("run", bundle.path, PATTERN, "--ladder", bundle.path)
    assert done.returncode == 2
    assert "need a deadline" in done.stderr
