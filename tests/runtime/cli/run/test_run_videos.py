"""``danet run`` and ``danet compare`` on videos as people store them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from video_files import Plan, kind, make, spoil

from danet_runtime.bundle import Bundle

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def shown(path: Path) -> tuple[list[float], Fraction, tuple[int, int]]:
    """Times, shape of the pixels and size of a video, by the demuxer alone."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        times = sorted(float(packet.pts * stream.time_base) for packet in packets)
        return times, stream.sample_aspect_ratio or Fraction(1), (stream.height, stream.width)


def test_damage_midway_keeps_the_rest_counts_it_and_ends_with_1(
    danet: Run, bundle: Bundle, tmp_path: Path
) -> None:
    video = make(tmp_path, kind("mpeg4.avi"), Plan(packet=spoil({15}, "noise")))
    done = danet("run", bundle.path, video, "--masks", "m", "--report", "r.json")
    assert done.returncode == 1
    assert "9 of its frames were left out (1 decoder, 8 missing reference)" in done.stderr.replace("\n", " ")
    assert "danet: stale" not in done.stderr  # it was read to its end: degraded, and not lost
    assert "Traceback" not in done.stderr
    assert len(list((tmp_path / "m").glob("*.png"))) == 31
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["frames"]["out"] == 31
    assert report["cameras"][0]["damaged"] == {"decoder": 1, "missing reference": 8}


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--damaged", "--on-damage"])
def test_stop_ends_at_the_first_damaged_frame(
    danet: Run, bundle: Bundle, tmp_path: Path, option: str
) -> None:
    video = make(tmp_path, kind("mpeg4.avi"), Plan(packet=spoil({15}, "noise")))
    done = danet("run", bundle.path, video, "--masks", "m", option, "stop")
    assert done.returncode == 1
    assert "damaged at frame 15" in done.stderr
    assert len(list((tmp_path / "m").glob("*.png"))) == 15


@pytest.mark.slow
def test_a_file_that_begins_between_key_frames_ends_well_and_says_so(
    danet: Run, bundle: Bundle, tmp_path: Path
) -> None:
    video = make(tmp_path, kind("h264.ts"), Plan(packet=spoil(set(range(5)), "drop")))
    done = danet("run", bundle.path, video, "--masks", "m")
    assert done.returncode == 0, done.stderr
    assert "begins between two key frames" in done.stderr
    assert len(list((tmp_path / "m").glob("*.png"))) == 28


@pytest.mark.parametrize("suffix", ["mp4", pytest.param("mkv", marks=pytest.mark.slow)])
def test_the_overlay_keeps_varying_times_and_the_shape_of_the_pixels(
    danet: Run, bundle: Bundle, tmp_path: Path, suffix: str
) -> None:
    times = [number / 25 + (1.6 if number > 4 else 0) for number in range(10)]
    video = make(tmp_path, kind("h264.mp4"), Plan(10, times=times, aspect=Fraction(4, 3)))
    done = danet("run", bundle.path, video, "-o", f"out.{suffix}")
    assert done.returncode == 0, done.stderr
    found, aspect, _ = shown(tmp_path / f"out.{suffix}")
    assert found == pytest.approx(times, abs=2e-3)
    assert aspect == Fraction(4, 3)


@pytest.mark.slow
def test_a_turned_video_is_upright_in_the_overlay_too(danet: Run, bundle: Bundle, tmp_path: Path) -> None:
    video = make(tmp_path, kind("h264.mp4"), Plan(4, turned=90, aspect=Fraction(4, 3)))
    done = danet("run", bundle.path, video, "-o", "out.mp4", "--masks", "m")
    assert done.returncode == 0, done.stderr
    _, aspect, size_hw = shown(tmp_path / "out.mp4")
    assert (aspect, size_hw) == (Fraction(3, 4), (256, 128))


@pytest.mark.slow
def test_files_played_at_their_own_rate_keep_varying_times(
    danet: Run, bundle: Bundle, tmp_path: Path
) -> None:
    times = [0.0, 0.04, 0.08, 0.8, 0.84]
    video = make(tmp_path, kind("h264.mp4"), Plan(5, times=times))
    lines = tmp_path / "out.jsonl"
    done = danet("run", bundle.path, video, "--realtime", "--policy", "every", "--sink", f"jsonl:{lines}")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    captured = [row["capture_time_ns"] for row in rows if "capture_time_ns" in row]
    assert len(captured) == 5
    assert captured[3] - captured[2] > 0.5e9


@pytest.mark.slow
@pytest.mark.parametrize(
    "plan",
    [Plan(6, turned=90), Plan(6, sound_s=3.0), Plan(8, hidden_s=2 / 25)],
    ids=["turned", "sound", "trimmed"],
)
def test_compare_takes_the_frames_of_the_video(
    danet: Run, bundle: Bundle, tmp_path: Path, plan: Plan
) -> None:
    video = make(tmp_path, kind("h264.mp4"), plan)
    done = danet("compare", bundle.path, "--data", video, "--b", "onnxruntime:fp32", "-o", "c")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "c" / "comparison.json").read_text())["frames_compared"] == 6


@pytest.mark.slow
def test_compare_does_not_pass_on_a_damaged_video(danet: Run, bundle: Bundle, tmp_path: Path) -> None:
    video = make(tmp_path, kind("mpeg4.avi"), Plan(packet=spoil({15}, "noise")))
    done = danet("compare", bundle.path, "--data", video, "--b", "onnxruntime:fp32", "-o", "c")
    assert done.returncode == 1
    assert "9 of its frames were left out" in done.stderr.replace("\n", " ")
