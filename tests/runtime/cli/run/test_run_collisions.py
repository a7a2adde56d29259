"""`danet run` never writes where it reads, and no two outputs to one place, whatever --overwrite says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from danet_runtime.bundle import Bundle
from danet_runtime.cli.live.collisions import Place, check_apart
from danet_runtime.cli.live.outputs import Outputs
from danet_runtime.errors import UsageError

CAMERA = "synthetic:?size=48x64&frames=3"


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video_maker: Callable[..., Path]) -> Path:
    monkeypatch.chdir(tmp_path)
    return video_maker(tmp_path / "src.mp4", 3)


def refused(
    sources: dict[str, str], *outputs: str, box: Path | None = None, report: Path | None = None
) -> str:
    texts = {name: [text.replace("{camera}", name) for text in outputs] for name in sources}
    boxes = {} if box is None else dict.fromkeys(list(sources)[:1], box)
    with pytest.raises(UsageError, match=r"give (each its own|another)") as error:
        check_apart(sources, [Path("bundle")], Outputs(texts, boxes, report, None, True).places())
    return str(error.value)


@pytest.mark.parametrize(
    "output",
    ["src.mp4", "./src.mp4", "jsonl:src.mp4", "jsonl:link.jsonl", "hard.mkv", "file:src.mp4", "to/src.mp4"],
)
def test_no_output_is_a_source_under_whatever_name(drive: Path, output: str) -> None:
    Path("link.jsonl").symlink_to(drive)
    Path("hard.mkv").hardlink_to(drive)
    Path("to").symlink_to(drive.parent, target_is_directory=True)
    for source in ("src.mp4", str(drive), "file:src.mp4", "file://src.mp4"):
        assert "SOURCE front and" in refused({"front": source}, output)


def test_a_report_or_a_file_of_one_camera_is_not_the_source_of_another(drive: Path) -> None:
    sources = {"front": CAMERA, "rear": "src.mp4"}
    assert "SOURCE rear and --report" in refused(sources, report=drive)
    drive.rename("front.mp4")
    assert "SOURCE rear and {camera}.mp4 of front".replace("{camera}", "front") in refused(
        {"front": CAMERA, "rear": "front.mp4"}, "{camera}.mp4"
    )


@pytest.mark.parametrize("source", ["pics", "pics/*.png", "p*/**/*.png", "pics/one.png"])
@pytest.mark.parametrize("folder", ["pics", "./pics/", "elsewhere"])
def test_masks_never_go_among_the_pictures_of_a_source(drive: Path, source: str, folder: str) -> None:
    Path("pics").mkdir()
    Path("elsewhere").symlink_to("pics")
    cv2.imwrite("pics/one.png", np.zeros((48, 64, 3), np.uint8))
    assert "reads one.png" in refused({"front": source}, f"masks:{folder}")
    assert "SOURCE front" in refused({"front": source}, "jsonl:pics/one.png")


@pytest.mark.parametrize(
    "outputs",
    [
        ("same.mp4", "same.mp4"),
        ("same.jsonl", "jsonl:./same.jsonl"),
        ("masks:m", "m"),
        ("masks:m", "jsonl:m/frame_000000.png"),
        ("shm:x", "shm:x?frame=1"),
        ("udp://127.0.0.1:5000", "udp://127.0.0.1:5000"),
    ],
)
def test_no_two_outputs_share_a_place(drive: Path, outputs: tuple[str, ...]) -> None:
    refused({"front": CAMERA}, *outputs)


def test_the_report_the_flight_recorder_and_the_cameras_are_compared_too(drive: Path) -> None:
    refused({"front": CAMERA}, "jsonl:r.json", report=Path("r.json"))
    refused({"front": CAMERA}, "masks:box", box=Path("box"))
    refused({"front": CAMERA, "rear": CAMERA}, "jsonl:one.jsonl")
    Path("bundle").mkdir()
    assert "inside a bundle" in refused({"front": CAMERA}, "masks:bundle/golden")
    assert "inside a bundle" in refused({"front": CAMERA}, report=Path("bundle/manifest.json"))


def test_what_is_apart_is_let_through(drive: Path) -> None:
    Path("pics/masks").mkdir(parents=True)
    cv2.imwrite("pics/one.png", np.zeros((48, 64, 3), np.uint8))
    outputs = [
        "{camera}.mp4",
        "masks:{camera}",
        "jsonl:{camera}/{camera}.jsonl",
        "shm:{camera}",
        "masks:pics/masks",
    ]
    sources = {"front": CAMERA, "rear": "pics"}
    texts = {
        "front": [text.replace("{camera}", "front") for text in outputs],
        "rear": [text.replace("{camera}", "rear") for text in outputs[:-1]],
    }
    places = Outputs(
        texts, {"front": Path("box/front"), "rear": Path("box/rear")}, Path("front/report.json"), None, True
    ).places()
    check_apart(sources, [Path("bundle")], places)
    null = [Place("a", Path("/dev/null")), Place("b", Path("/dev/null"))]
    check_apart(sources, [], null)  # nothing is lost there that would not be lost anyway


def test_the_command_leaves_its_sources_alone(
    danet: Callable, bundle: Bundle, tmp_path: Path, drive: Path
) -> None:
    before = drive.read_bytes()
    (tmp_path / "pics").mkdir()
    cv2.imwrite(str(tmp_path / "pics" / "one.png"), np.zeros((48, 64, 3), np.uint8))
    for source, *outputs in (
        ("src.mp4", "--sink", "src.mp4"),
        ("pics/*.png", "--masks", "pics"),
        ("src.mp4", "-o", "same.mp4", "--sink", "same.mp4"),
    ):
        done = danet("run", bundle.path, source, *outputs, "--overwrite")
        assert done.returncode == 2
        assert "give each its own path" in done.stderr
    assert drive.read_bytes() == before
    assert sorted(file.name for file in tmp_path.rglob("*.*")) == ["one.png", "src.mp4"]
    assert cv2.imread(str(tmp_path / "pics" / "one.png")).shape == (48, 64, 3)
