"""``danet replay``: what a flight recording holds, and the video of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from recorded_box import fill, handled
from sink_parts import result
from typer.testing import CliRunner

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.cli.commands.replay import replay as replay_command
from danet_runtime.errors import SourceError, UsageError
from danet_runtime.recorder.recorder import FlightRecorder
from danet_runtime.results.health import HealthEvent
from danet_runtime.sinks import StreamFormat

SECOND = 10**9


@pytest.fixture
def stream_format(bundle: Bundle) -> StreamFormat:
    segmenter = Segmenter(bundle)
    return StreamFormat((48, 64), 25.0, segmenter.classes, segmenter.palette)


def test_replay_tells_what_happened_and_writes_the_video(
    tmp_path: Path, stream_format: StreamFormat, video_reader: Callable
) -> None:
    box = FlightRecorder()
    box.open(stream_format)
    box.note(HealthEvent(0, 0, "degraded", "ready", ("the lens [front] is dirty",)))
    fill(box, 6, step_ns=SECOND // 20, health="degraded")
    folder = box.save(tmp_path / "box", "signal")
    box.close()
    runner, app = CliRunner(), typer.Typer()
    app.command()(replay_command)
    output = tmp_path / "out" / "replay.mkv"
    done = runner.invoke(app, [str(folder), "-o", str(output), "--legend"])
    assert done.exit_code == 0, done.output
    for words in ("reason: signal", "0 to 5", "the lens [front] is dirty", "replay.mkv, 6 frames"):
        assert words in done.output
    frames, rate = video_reader(output)
    assert (len(frames), rate) == (6, pytest.approx(20.0))
    assert frames[0].shape == (48 + 74, 480, 3)
    again = runner.invoke(app, [str(folder), "-o", str(output)])
    assert isinstance(again.exception, UsageError)
    nowhere = runner.invoke(app, [str(tmp_path / "out")])
    assert isinstance(nowhere.exception, SourceError)
    assert "--flight-recorder" in str(nowhere.exception)


def test_replay_draws_its_overlay_as_it_is_told(
    tmp_path: Path, stream_format: StreamFormat, video_reader: Callable
) -> None:
    box = FlightRecorder()
    box.open(stream_format)
    half = np.repeat(np.array([[0], [1]], np.uint8), 24, axis=0).repeat(64, axis=1)  # road above tree
    shown = result(np.full((48, 64, 3), 255, np.uint8), 0, health="ready")
    box.write(replace(shown, labels=half))
    handled(box)
    folder = box.save(tmp_path / "box", "signal")
    box.close()
    app = typer.Typer()
    app.command()(replay_command)
    pictures = []
    for options in (["--alpha", "0"], ["--alpha", "1", "--palette", "color-blind"], ["--contours"]):
        output = tmp_path / f"{len(pictures)}.mkv"
        done = CliRunner().invoke(app, [str(folder), "-o", str(output), *options])
        assert done.exit_code == 0, done.output
        pictures.append(video_reader(output)[0][0].astype(int))
    frame, colors, borders = pictures
    assert np.abs(frame[12, 30] - 255).max() < 12
    assert np.abs(colors[12, 30] - (94, 69, 72)).max() < 12  # BGR of road for the color-blind
    assert np.abs(borders[12, 30] - borders[23, 30]).max() > 30  # half a color, and a border in the whole one


@pytest.mark.parametrize("cameras", [("",), ("front", "rear")])
def test_replay_takes_the_folder_of_the_flight_recorder_and_lists_what_is_in_it(
    tmp_path: Path, stream_format: StreamFormat, cameras: tuple[str, ...]
) -> None:
    runner, app = CliRunner(), typer.Typer()
    app.command()(replay_command)
    written: list[Path] = []
    for number, reason in enumerate(("signal", "fault: it [hangs]")):
        box = FlightRecorder(tmp_path / "box" / cameras[number % len(cameras)])
        box.open(stream_format)
        fill(box, 3 + number, source=cameras[number % len(cameras)] or "source")
        box.request(reason)
        box.close()
        written += box.written
        listing = runner.invoke(app, [str(tmp_path / "box")])
        assert listing.exit_code == 0, listing.output
        if number == 0:  # one is shown
            assert f"the only flight recording in {tmp_path / 'box'}: {written[0]}" in listing.output
            assert "reason: signal" in listing.output
    lines = listing.output.splitlines()
    assert lines[0].startswith("2 flight recordings in")
    assert lines[1].startswith(f"{written[0]}: 3 frames of")
    assert lines[2].startswith(f"{written[1]}: 4 frames of")
    assert lines[2].endswith("fault: it [hangs]")
    refused = runner.invoke(app, [str(tmp_path / "box"), "-o", str(tmp_path / "out.mp4")])
    assert isinstance(refused.exception, UsageError)
    assert "holds 2 flight recordings; give one of them" in str(refused.exception)
