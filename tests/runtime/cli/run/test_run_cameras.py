"""`danet run` with cameras: several at once, deadlines, files at their rate, and what it refuses."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_parts import report_of

from danet_runtime.bundle import Bundle
from danet_runtime.sinks import StreamFormat
from danet_runtime.sinks.shared.memory import SharedMemorySink

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen

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


def test_every_camera_has_its_figures_and_all_have_one_report(
    danet: Callable, bundle: Bundle, tmp_path: Path
) -> None:
    sources = (f"front={PATTERN}&frames=10", f"rear={PATTERN}&frames=5")
    done = danet("run", bundle.path, *sources, "-o", "{camera}.mp4", "--policy", "every")
    assert done.returncode == 0, done.stderr
    for words in ("over 10 frames of front", "over 5 frames of rear", "written: cameras.json"):
        assert words in done.stdout
    rows = [line.replace("│", " ").split() for line in done.stdout.splitlines()]
    assert [row[:3] for row in rows if row[:1] in (["front"], ["rear"], ["all"])] == [
        ["front", "10", "10"],
        ["rear", "5", "5"],
        ["all", "15", "15"],
    ]
    report = json.loads((tmp_path / "cameras.json").read_text())
    assert report["latency"]["camera"] == "front"
    assert [camera["latency"]["frames"] for camera in report["cameras"]] == [10, 5]


def test_without_a_report_it_says_how_to_get_one(danet: Callable, bundle: Bundle, tmp_path: Path) -> None:
    done = danet("run", bundle.path, f"{PATTERN}&frames=3", "--sink", "out.jsonl")
    assert done.returncode == 0
    assert "no report was asked for; --report FILE writes one" in done.stdout
    assert "written: out.jsonl" in done.stdout


@pytest.fixture
def held_shm() -> Iterator[str]:
    """The name of shared memory that a living process writes to."""
    name = f"test-{os.getpid()}-{time.monotonic_ns()}"
    sink = SharedMemorySink(name)
    sink.open(StreamFormat((4, 4), None, [], np.zeros((256, 3), np.uint8)))
    yield name
    sink.close()


def model_of_other_labels(model: bytes) -> bytes:
    changed = onnx.load_from_string(model)
    (weight,) = [entry for entry in changed.graph.initializer if entry.name == "weight"]
    weight.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weight), "weight"))
    return changed.SerializeToString()


def model_of_no_operator(model: bytes) -> bytes:
    changed = onnx.load_from_string(model)
    changed.graph.node[0].op_type = "NoSuchOperator"
    return changed.SerializeToString()


@pytest.mark.parametrize("trouble", ["source", "sink", "bundle", "model", "golden"])
def test_a_report_that_was_asked_for_is_written_also_where_nothing_came_out(
    danet: Callable,
    bundle_maker: Callable[..., Bundle],
    model_maker: Callable[..., bytes],
    tmp_path: Path,
    held_shm: str,
    trouble: str,
) -> None:
    model = model_maker()
    models = {"model": model_of_no_operator(model), "golden": model_of_other_labels(model)}
    path = bundle_maker(tmp_path / "bundle", model=models.get(trouble)).path
    if trouble == "bundle":
        (path / "model.fp32.onnx").write_bytes(b"changed")
    source = "http://127.0.0.1:9/x" if trouble == "source" else PATTERN
    further = ("--sink", f"shm:{held_shm}") if trouble == "sink" else ()
    outputs = ("--sink", "out.jsonl", "--report", "r.json", *further)
    done = danet("run", path, source, *outputs)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    report = report_of(tmp_path / "r.json")
    assert (report["ending"], report["frames"]["out"]) == ("failed", 0)
    assert report["error"] in done.stderr


def test_a_file_is_played_at_its_rate(
    danet: Callable, bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path]
) -> None:
    video = video_maker(tmp_path / "in.mp4", 25, (48, 64))
    report = tmp_path / "report.json"
    done = danet("run", bundle.path, video, "--realtime", "--report", report)
    assert done.returncode == 0, done.stderr
    content = json.loads(report.read_text())
    assert content["policy"] == "latest"
    assert content["frames"]["in"] == 25
    assert content["duration_s"] == pytest.approx(24 / 25, abs=0.3)


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
        (("synthetic:?size=big",), "expected synthetic:?size=HxW&fps=0..1000&frames=COUNT (got size='big')"),
        ((PATTERN, "--deadline-ms", "0"), "deadline_ms must be a finite number above 0"),
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


def test_a_fallback_needs_a_deadline(danet: Callable, bundle: Bundle) -> None:
    done = danet("run", bundle.path, PATTERN, "--fallback", bundle.path)
    assert done.returncode == 2
    assert "need a deadline" in done.stderr


def test_the_help_says_what_a_stranger_must_know(danet: Callable) -> None:
    help_text = " ".join(danet("run", "--help-all").stdout.replace("│", " ").split())
    for words in (
        "{start}, the time in UTC",
        "The exit code is 3 after a fault",
        "the source waits for the slowest output",
        "a slow output misses frames",
        "drive-0000.mp4",
    ):
        assert words in help_text
