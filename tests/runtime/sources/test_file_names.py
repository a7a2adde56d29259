"""Names of files as people have them: percent signs, Latin-1, devices, macOS's leftovers, numbers."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_from_bytes

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danet_runtime.cli.live.cameras import check_sources, named_sources
from danet_runtime.errors import SourceError, UsageError
from danet_runtime.sources import open_source
from danet_runtime.sources.camera import CameraSource, canonical_camera
from danet_runtime.sources.images import natural_order, pictures_in
from danet_runtime.sources.registry import live_source, path_of

LATIN_1 = os.fsdecode(b"h\xe9")


def write_picture(path: Path, grey: int = 0) -> None:
    path.write_bytes(cv2.imencode(".png", np.full((8, 16, 3), grey, np.uint8))[1].tobytes())


def greys(source: str) -> list[int]:
    """What each picture of a source shows, in order."""
    opened, buffer, found = open_source(source), np.empty((8, 16, 3), np.uint8), []
    while opened.read_into(buffer) is not None:
        found.append(int(buffer[0, 0, 0]))
    opened.close()
    return found


@given(name=st.binary(min_size=1, max_size=40).filter(lambda name: not {0, 47} & set(name) and name != b"."))
def test_a_file_uri_names_the_file_whose_bytes_it_encodes(name: bytes) -> None:
    expected = Path(os.fsdecode(b"/nowhere/" + name))
    uri = f"/nowhere/{quote_from_bytes(name)}"
    for text in (f"file:{uri}", f"file://{uri}", f"file://localhost{uri}"):
        assert path_of(text) == expected


def test_a_picture_is_read_by_its_uri_and_a_name_with_a_percent_sign_stays_one(tmp_path: Path) -> None:
    write_picture(tmp_path / "a b.png", 10)
    write_picture(tmp_path / "a%20c.png", 20)
    write_picture(tmp_path / f"{LATIN_1}.png", 30)
    assert greys(f"file://{tmp_path}/a%20b.png") == [10]
    assert greys(f"file://{tmp_path}/a%20c.png") == [20]
    assert greys(f"file://{tmp_path}/a%2520c.png") == [20]
    assert greys(f"file://{tmp_path}/h%E9.png") == [30]
    assert greys(f"File://{tmp_path}/a%20b.png") == [10]


@pytest.mark.parametrize("text", ["", "file:", "file://"])
def test_an_empty_name_is_not_the_folder_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    write_picture(tmp_path / "a.png", 10)
    monkeypatch.chdir(tmp_path)
    assert greys(".") == [10]
    with pytest.raises(UsageError, match="names nothing; expected a video file"):
        open_source(text)


@pytest.mark.parametrize("number", [0, 7, 12])
def test_a_video_device_is_the_camera_of_its_number(number: int) -> None:
    name = f"/dev/video{number}"
    assert path_of(name) is None
    assert canonical_camera(name) == f"camera:{number}"
    assert isinstance(live_source(name), CameraSource)
    with pytest.raises(UsageError, match=f"are both camera:{number}"):
        check_sources({"a": name, "b": f"camera:{number}"})
    assert named_sources([f"front={name}"]) == {"front": name}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write to /dev")
def test_what_leads_to_a_video_device_from_dev_is_that_camera(tmp_path: Path) -> None:
    link = Path(f"/dev/danet-test-{os.getpid()}")
    link.symlink_to("/dev/video63")
    try:
        assert canonical_camera(str(link)) == "camera:63"
    finally:
        link.unlink()
    (tmp_path / "film.mp4").symlink_to("/dev/video63")  # a file's name never becomes a camera
    assert canonical_camera(str(tmp_path / "film.mp4")) is None


@pytest.mark.parametrize("name", ["/dev/videos", "/dev/video", "/dev/video0.mp4", "dev/video0", "/dev/null"])
def test_other_names_are_no_devices_of_video(name: str) -> None:
    assert canonical_camera(name) is None
    assert path_of(name) == Path(name)


def test_hidden_and_special_files_are_skipped_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_picture(tmp_path / "001.png", 40)
    (tmp_path / "._001.jpg").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    write_picture(tmp_path / ".002.77-ab.partial.png")
    os.mkfifo(tmp_path / "003.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "notes.txt").touch()
    with caplog.at_level(logging.WARNING):
        source = open_source(tmp_path)
    assert (source.count, source.describe()["skipped"]) == (1, 3)
    assert "skipped 3 hidden or special files with a picture's suffix" in caplog.text
    assert greys(str(tmp_path)) == [40]


def test_a_folder_of_macos_leftovers_alone_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "._001.jpg").touch()
    with pytest.raises(SourceError, match=r"holds no picture.*1 hidden or special files are skipped"):
        pictures_in(tmp_path)


def test_other_files_and_folders_beside_pictures_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_picture(tmp_path / "001.png", 40)
    (tmp_path / "IMG_0001.HEIC").touch()
    (tmp_path / "more").mkdir()
    for source in (str(tmp_path), f"{tmp_path}/*"):
        caplog.clear()
        assert greys(source) == [40]
        assert "left out 1 file, as IMG_0001.HEIC" in caplog.text
    (tmp_path / "001.png").rename(tmp_path / "more" / "001.png")
    with pytest.raises(SourceError, match=r"1 file, as IMG_0001.HEIC and 1 folder, as more: .*/\*\*/\*\.png"):
        open_source(tmp_path)


@pytest.mark.parametrize("name", ["photo", "photo.jpeg~", "photo.mpo"])
@pytest.mark.parametrize(("suffix", "kind"), [(".jpg", "JPEG"), (".png", "PNG"), (".webp", "WebP")])
def test_a_picture_under_a_name_of_no_picture_is_told_from_a_damaged_video(
    tmp_path: Path, name: str, suffix: str, kind: str
) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    (tmp_path / name).write_bytes(cv2.imencode(suffix, picture)[1].tobytes())
    with pytest.raises(SourceError, match=rf"is a {kind} picture by its first bytes.*name it photo\{suffix}"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "picture.avif", "picture.mp4"])
def test_a_phones_picture_of_tiles_is_not_read_as_a_video_of_one_of_them(tmp_path: Path, name: str) -> None:
    brand = b"avif" if "avif" in name else b"heic"
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + brand)
    with pytest.raises(SourceError, match=r"a picture in a container of videos.*convert it to one of \.bmp"):
        open_source(tmp_path / name)


@pytest.mark.parametrize("pattern", ["", "/*.png", "/**/*.png"])
def test_numbered_frames_come_in_the_order_of_their_numbers(tmp_path: Path, pattern: str) -> None:
    for number in (12, 1, 10, 9, 2, 100):
        write_picture(tmp_path / f"frame{number}.png", number)
    assert greys(f"{tmp_path}{pattern}") == [1, 2, 9, 10, 12, 100]


@given(st.permutations(range(0, 10**9, 77777777)), st.text(max_size=5).filter(lambda text: "/" not in text))
def test_numbers_decide_the_order_whatever_stands_around_them(numbers: list[int], word: str) -> None:
    word = word.rstrip("0123456789")
    names = [Path(f"{word}{number}.jpg") for number in numbers]
    assert sorted(names, key=natural_order) == [Path(f"{word}{number}.jpg") for number in sorted(numbers)]


@given(st.lists(st.text("ab01_", min_size=5, max_size=5), unique=True))
def test_the_order_tells_any_two_names_apart(names: list[str]) -> None:
    keys = [natural_order(Path(name)) for name in names]
    assert len({str(key) for key in keys}) == len(names)


def test_the_reader_without_pyav_is_not_ended_by_latin_1(
    tmp_path: Path, video_maker: Callable[..., Path]
) -> None:
    video_maker(tmp_path / "plain.mp4", 3).rename(tmp_path / f"{LATIN_1}.mp4")
    code = (
        "import sys, numpy as np\n"
        "from danet_runtime.sources.video_files import opencv_video\n"
        "opencv_video.writes_what_it_gives = lambda: True\n"  # OpenCV 5 is not let near interlaced videos
        "source = opencv_video.OpenCvVideoSource(sys.argv[1])\n"
        "buffer, count = np.empty((*source.size_hw, 3), np.uint8), 0\n"
        "while source.read_into(buffer) is not None: count += 1\n"
        "print(count)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / f"{LATIN_1}.mp4"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"3\n"), done.stderr
