"""``danet run`` with names of files as people have them, and standard output that is not UTF-8."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import av
import pytest
from danet_command import danet
from video_files import Kind, Plan, make

from danet_runtime.bundle import Bundle
from danet_runtime.cli.live.outputs import _report_beside
from danet_runtime.errors import UsageError
from danet_runtime.files.atomic import check_file_target, check_folder_target, write_json
from danet_runtime.files.names import fitting_name

KIND = Kind("drive.mp4", "mpeg4", {"g": "12"})
LATIN_1 = os.fsdecode(b"h\xe9")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(LATIN_1, id="latin-1"),
        pytest.param("a:b", id="colon", marks=pytest.mark.slow),
        pytest.param("n" * 251, id="255-characters"),
        pytest.param("ж" * 122, id="249-bytes-of-utf-8", marks=pytest.mark.slow),
        pytest.param("a %d\n#?", id="odd", marks=pytest.mark.slow),
    ],
)
def test_any_name_of_an_input_is_one_for_the_output_and_everything_beside_it(
    tmp_path: Path, bundle: Bundle, name: str
) -> None:
    make(tmp_path, KIND, Plan(3)).rename(tmp_path / f"{name}.mp4")
    (tmp_path / "out").mkdir()
    lines = f"jsonl:out/{name[: -2 or None]}.jsonl" if len(name) > 200 else f"jsonl:out/{name}.jsonl"
    outputs = ("-o", f"out/{name}.mp4", "--masks", f"out/{name}.msk", "--sink", lines)
    done = danet("run", bundle.path, f"{name}.mp4", *outputs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out" / f"{name}.msk").glob("*.png"))) == 3
    with (
        (tmp_path / "out" / f"{name}.mp4").open("rb") as file,
        av.open(file) as container,
    ):
        assert sum(packet.size > 0 for packet in container.demux(video=0)) == 3
    reports = [path for path in (tmp_path / "out").iterdir() if path.suffix == ".json"]
    assert [path.name for path in reports] == [fitting_name(name, ".json")]
    assert json.loads(reports[0].read_text())["frames"]["out"] == 3
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_a_bundle_and_pictures_of_latin_1_names_give_masks_of_these_names(
    tmp_path: Path, bundle: Bundle
) -> None:
    from cv2 import imencode
    from numpy import zeros

    shutil.copytree(bundle.path, tmp_path / f"{LATIN_1}B")
    (tmp_path / f"{LATIN_1}dir").mkdir()
    picture = imencode(".png", zeros((64, 128, 3), "uint8"))[1].tobytes()
    for name in (f"{LATIN_1}.png", f"{'n' * 251}.png"):
        (tmp_path / f"{LATIN_1}dir" / name).write_bytes(picture)
    done = danet("run", f"{LATIN_1}B", f"{LATIN_1}dir", "--masks", "m", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "m").glob("*.png")} == {f"{LATIN_1}.png", f"{'n' * 251}.png"}


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        pytest.param({"PYTHONIOENCODING": "latin-1"}, marks=pytest.mark.slow),
        pytest.param(
            {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["ascii", "latin-1", "C"],
)
def test_standard_output_that_is_not_utf_8_gets_what_it_can_show(
    tmp_path: Path, bundle: Bundle, environment: dict[str, str]
) -> None:
    make(tmp_path, KIND, Plan(3)).rename(tmp_path / "Straße \u4e00.mp4")
    how: dict[str, Any] = {"cwd": tmp_path, "encoding": environment.get("PYTHONIOENCODING", "ascii")}
    done = danet("run", bundle.path, "Straße \u4e00.mp4", "--masks", "m", **how, **environment)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "m").glob("*.png"))) == 3
    assert "frames" in done.stdout
    assert "\\u250" not in done.stdout  # frames of tables are drawn with what is there
    refused = danet("run", bundle.path, "Straße \u4e00.mp5", "--masks", "m2", **how, **environment)
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    assert "there is no file or folder" in refused.stderr


@pytest.mark.parametrize(
    "check", [check_file_target, lambda path: check_folder_target(path, "x", overwrite=True)]
)
def test_a_name_that_no_disk_takes_is_refused_before_the_work(tmp_path: Path, check) -> None:
    with pytest.raises(UsageError, match="is a name of 256 bytes; a file's has at most 255"):
        check(tmp_path / ("é" * 128))
    check(tmp_path / ("n" * 255))


@pytest.mark.parametrize("length", [1, 200, 240, 249, 255])
def test_a_file_of_any_length_of_name_is_written_whole(tmp_path: Path, length: int) -> None:
    for path in (tmp_path / ("n" * length), tmp_path / ("é" * (length // 2) + "n" * (length % 2))):
        write_json(path, {"a": 1})
        assert json.loads(path.read_text()) == {"a": 1}
    assert all(not path.name.startswith(".") for path in tmp_path.iterdir())


def test_reports_of_two_long_names_are_two_files() -> None:
    one, other = (_report_beside(Path("n" * 250 + letter + ".mp4"), None) for letter in "ab")
    assert one != other
    assert len(one.name) == len(other.name) == 255
    assert _report_beside(Path("a.b.mp4"), None) == Path("a.b.json")
