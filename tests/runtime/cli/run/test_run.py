"""``danet run``: N frames in, N frames out, and a report that says so."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from danet_command import DANET
from mask_files import labels_in
from video_files import repeated

from danet_runtime.bundle import Bundle

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_a_video_becomes_an_overlay_of_the_same_frames_and_a_report(
    danet: Run, bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path], video_reader: Callable
) -> None:
    source = video_maker(tmp_path / "in.mp4", 25, (96, 128), fps=30.0)
    done = danet(
        "run", bundle.path, source, "-o", tmp_path / "out.mp4", "--masks", tmp_path / "masks", "--legend"
    )
    assert done.returncode == 0, done.stderr
    assert "out.mp4" in done.stdout
    assert "p99" in done.stdout
    frames, fps = video_reader(tmp_path / "out.mp4")
    assert (len(frames), frames[0].shape, fps) == (25, (96, 128, 3), 30.0)
    assert len(list((tmp_path / "masks").glob("frame_*.png"))) == 25

    report = json.loads((tmp_path / "out.json").read_text())
    assert set(report) == {
        "kind",
        "schema_version",
        "frames",
        "damaged",
        "ending",
        "error",
        "duration_s",
        "fps",
        "policy",
        "latency",
        "cameras",
        "health",
        "bundle",
        "backend",
        "machine",
    }
    frames = report["frames"]
    assert (frames.pop("in"), frames.pop("out")) == (25, 25)
    assert set(frames.values()) == {0}
    assert report["bundle"] == {
        **{"path": str(bundle.path), "sha256": bundle.sha256, "precision": "fp32"},
        "conv_mac_share_int8": 0.0,
    }
    assert report["cameras"][0]["source"]["size_hw"] == [96, 128]
    assert report["backend"]["name"] == "onnxruntime"
    assert report["machine"]["versions"]["onnxruntime"] == report["backend"]["version"]
    latency = report["latency"]
    assert list(latency["stages"]) == ["capture", "preprocess", "inference", "postprocess", "sink"]
    parts = sum(stage["mean_ms"] for stage in latency["stages"].values()) + latency["remainder"]["mean_ms"]
    assert parts == pytest.approx(latency["total"]["mean_ms"])
    assert set(latency["total"]) == {"mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms"}


def test_a_run_without_outputs_says_so_before_it_works_and_what_ran_and_json_stands_alone(
    danet: Run, bundle: Bundle
) -> None:
    done = danet("run", bundle.path, "synthetic:?size=48x64&frames=5")
    assert done.returncode == 0, done.stderr
    assert "nothing will be written" in done.stderr
    assert "through onnxruntime:fp32" in done.stdout
    pure = danet(
        "run", bundle.path, "synthetic:?size=48x64&frames=5", "--backend", "onnxruntime:fp32", "--json", "-"
    )
    assert json.loads(pure.stdout)["bundle"]["precision"] == "fp32"
    assert "nothing will be written" not in pure.stderr
    assert "through onnxruntime:fp32" in pure.stderr
    assert "written:" not in pure.stderr  # the file that it went through is nobody's business


def test_outputs_that_exist_are_kept_unless_overwrite_is_said(
    danet: Run, bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path]
) -> None:
    source = video_maker(tmp_path / "in.avi", 3)
    for existing in ("out.avi", "out.json"):
        (tmp_path / existing).write_text("mine")
        refused = danet("run", bundle.path, source, "-o", tmp_path / "out.avi")
        assert refused.returncode == 2
        assert f"{existing} exists already" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert (tmp_path / existing).read_text() == "mine"
        (tmp_path / existing).unlink()
    (tmp_path / "out.avi").write_text("mine")
    assert danet("run", bundle.path, source, "-o", tmp_path / "out.avi", "--overwrite").returncode == 0
    assert json.loads((tmp_path / "out.json").read_text())["frames"]["out"] == 3


def test_outputs_never_overwrite_the_source_or_each_other(
    danet: Run, bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path]
) -> None:
    source = video_maker(tmp_path / "in.mp4", 3)
    before = source.read_bytes()
    for outputs in (
        ("-o", source),
        ("-o", "o.mp4", "--report", "./o.mp4"),
        ("--masks", "x", "--report", "x"),
    ):
        refused = danet("run", bundle.path, source, *outputs, "--overwrite")
        assert refused.returncode == 2
        assert "give each its own path" in refused.stderr
    assert source.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["in.mp4"]


def test_a_video_cut_off_keeps_what_came_and_fails_with_the_numbers(
    danet: Run, bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path], video_reader: Callable
) -> None:
    source = video_maker(tmp_path / "in.avi", 60)
    whole = source.read_bytes()
    source.write_bytes(whole[: len(whole) // 2])
    done = danet("run", bundle.path, source, "-o", tmp_path / "out.mp4")
    assert done.returncode == 1
    report = json.loads((tmp_path / "out.json").read_text())
    assert 5 < report["frames"]["out"] < 55
    assert report["ending"] == "failed"
    assert f"ended after {report['frames']['out']} of 60 frames" in report["error"]
    assert report["error"] in done.stderr
    assert "Traceback" not in done.stderr
    assert len(video_reader(tmp_path / "out.mp4")[0]) == report["frames"]["out"]


def test_a_video_that_cannot_be_opened_leaves_no_output(
    danet: Run, bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path]
) -> None:
    source = video_maker(tmp_path / "in.mp4", 20)
    source.write_bytes(source.read_bytes()[:-200])  # an MP4's index stands at its end
    done = danet(
        "run", bundle.path, source, "-o", tmp_path / "new" / "out.mp4", "--masks", tmp_path / "masks"
    )
    assert done.returncode == 1
    assert "in.mp4 cannot be opened" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["in.mp4"]


def test_pictures_become_masks_of_their_names(
    danet: Run, bundle: Bundle, tmp_path: Path, picture_maker: Callable[..., np.ndarray]
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("one.png", "two.png"):
        cv2.imwrite(str(tmp_path / "in" / name), picture_maker(48, 64))
    done = danet(
        "run", bundle.path, tmp_path / "in", "--masks", tmp_path / "masks", "--report", tmp_path / "r.json"
    )
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in (tmp_path / "masks").iterdir()) == ["one.png", "two.png"]
    mask = labels_in(tmp_path / "masks" / "one.png")
    assert (mask[2:20, 20:60] == 2).all()  # sky
    assert (mask[40:, 2:60] == 0).all()  # road
    assert json.loads((tmp_path / "r.json").read_text())["frames"]["out"] == 2


def test_the_options_reach_the_stream(
    danet: Run, bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path]
) -> None:
    source = video_maker(tmp_path / "in.mp4", 30)
    options = ("--max-frames", 5, "--policy", "latest", "--threads", 1, "--precision", "fp32")
    done = danet("run", bundle.path, source, "--report", tmp_path / "r.json", *options)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["frames"]["in"], report["policy"], report["ending"]) == (5, "latest", "frame limit")
    assert report["backend"]["threads"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "BUNDLE", "nowhere.mp4"), 2, "expected a video file"),
        (("run", "nowhere", "in.mp4"), 2, "does not exist"),
        (("run", "BUNDLE", "in.mp4", "--precision", "int8"), 2, "no int8 variant"),
        (("run", "BUNDLE", "in.mp4", "-o", "out.gif"), 2, "is no sink; expected a video file"),
        (("run", "BUNDLE", "in.mp4", "--policy", "some"), 2, "some"),
    ],
)
def test_a_wrong_request_is_told_in_one_line(
    danet: Run,
    bundle: Bundle,
    tmp_path: Path,
    video_maker: Callable[..., Path],
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    video_maker(tmp_path / "in.mp4", 2)
    done = danet(*(str(bundle.path) if part == "BUNDLE" else part for part in arguments))
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["in.mp4"]


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory, video_maker: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("long")
    return repeated(folder / "in.mp4", video_maker(folder / "short.mp4", 60, (480, 640)), 20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_finishes_the_outputs(
    bundle: Bundle, tmp_path: Path, long_video: Path, video_reader: Callable, number: int
) -> None:
    command = [
        *DANET,
        "run",
        bundle.path,
        long_video,
    ]
    process = subprocess.Popen(
        [*command, "-o", tmp_path / "out.mp4"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "out.mp4").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1, errors
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["ending"] == "stopped"
    assert 0 < report["frames"]["out"] < 1200
    assert len(video_reader(tmp_path / "out.mp4")[0]) == report["frames"]["out"]
    assert f"interrupted after {report['frames']['out']} frames" in errors.decode()


@pytest.mark.parametrize(
    ("name", "drive"),
    [
        pytest.param("highway_960x540.mp4", (221, (540, 960), 25.0), marks=pytest.mark.slow),
        pytest.param("highway_1280x720.mp4", (38, (720, 1280), 25.0)),
    ],
)
def test_a_real_drive_goes_through_whole(
    danet: Run,
    bundle: Bundle,
    tmp_path: Path,
    video_reader: Callable,
    real_video: Callable[[str], Path],
    name: str,
    drive: tuple[int, tuple[int, int], float],
) -> None:
    done = danet("run", bundle.path, real_video(name), "-o", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    overlay, fps = video_reader(tmp_path / "out.mp4")
    assert (len(overlay), overlay[0].shape[:2], fps) == drive
    counted = json.loads((tmp_path / "out.json").read_text())["frames"]
    assert (counted.pop("in"), counted.pop("out"), *set(counted.values())) == (drive[0], drive[0], 0)
