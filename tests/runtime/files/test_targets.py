"""Only regular files are replaced; devices, FIFOs and standard streams are written through."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from danet_runtime.errors import UsageError
from danet_runtime.files import targets
from danet_runtime.files.atomic import check_file_target, replacing, replacing_folder, write_json
from danet_runtime.sinks import open_sink


def read_of(fifo: Path) -> tuple[threading.Thread, list[bytes]]:
    """Begin to read a FIFO to its end; the thread and where the content lands."""
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.append(fifo.read_bytes()), daemon=True)
    thread.start()
    return thread, read


@pytest.fixture
def null(tmp_path: Path) -> Path:
    """A device like /dev/null that a failing test may destroy."""
    path = tmp_path / "null"
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        path.write_bytes(b"")
    except OSError:
        pytest.skip("making or opening a device is not permitted here")
    return path


def test_a_device_is_written_through_and_stays_a_device(null: Path) -> None:
    write_json(null, {"a": 1})
    assert null.is_char_device()
    assert sorted(file.name for file in null.parent.iterdir()) == ["null"]
    sink = open_sink(f"jsonl:{null}")  # nothing is replaced, so nobody is asked for leave
    sink.close()
    assert null.is_char_device()


def test_a_fifo_gets_the_content_and_stays_a_fifo(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    thread, read = read_of(fifo)
    write_json(fifo, {"a": 1})
    thread.join(10)
    assert json.loads(read[0]) == {"a": 1}
    assert fifo.is_fifo()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("redirected", [False, True])
def test_standard_output_gets_the_content_after_what_was_printed_and_is_not_replaced(
    tmp_path: Path, name: str, redirected: bool
) -> None:
    script = (
        "import sys, pathlib; from danet_runtime.files.atomic import write_json; "
        "print('before', flush=True); "
        "write_json(pathlib.Path(sys.argv[1]), {'a': 1}); print('after')"
    )
    (tmp_path / "link").symlink_to("/dev/stdout")
    log = tmp_path / "log"
    with log.open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / name)],
            check=True,
            stdout=file if redirected else subprocess.PIPE,
        )
    output = log.read_text() if redirected else done.stdout.decode()
    assert output == 'before\n{\n  "a": 1\n}\nafter\n'
    assert Path("/dev/stdout").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "log"]


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_followed_and_stays(tmp_path: Path, dangling: bool) -> None:
    target, link = tmp_path / "far" / "file.json", tmp_path / "link.json"
    target.parent.mkdir()
    if not dangling:
        target.write_text("old")
    link.symlink_to(target)
    with replacing(link) as partial:
        assert partial.parent == target.parent  # renamed on one disk
        partial.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_link_to_a_folder_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "mark").touch()
    (tmp_path / "link").symlink_to("far")
    with replacing_folder(tmp_path / "link", "mark", overwrite=True) as partial:
        (partial / "mark").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "mark").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "link"]


@pytest.mark.parametrize("text", ["out.mp4", "jsonl:out.jsonl"])
def test_a_link_that_leads_nowhere_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(text.removeprefix("jsonl:")).symlink_to("elsewhere")
    with pytest.raises(UsageError, match="exists already"):
        open_sink(text)


def test_a_socket_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "socket.mp4"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        for refused in (lambda: check_file_target(path), lambda: open_sink(path, overwrite=True)):
            with pytest.raises(UsageError, match="is a socket"):
                refused()
        assert path.is_socket()


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_video_goes_into_what_cannot_be_sought_in(tmp_path: Path, null: Path, overwrite: bool) -> None:
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "link.mkv").symlink_to(null)
    for name, words in (("fifo.mp4", "a FIFO"), ("link.mkv", "a device")):
        with pytest.raises(UsageError, match=words):
            open_sink(tmp_path / name, overwrite=overwrite)


def test_a_fifo_that_nobody_reads_is_said_and_not_waited_for_without_end(
    tmp_path: Path, watchdog: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    watchdog(30)
    monkeypatch.setattr(targets, "READER_WAIT_S", 0.1)
    fifo = tmp_path / "fifo.jsonl"
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="nobody has opened this FIFO"):
        write_json(fifo, {})
    assert fifo.is_fifo()
