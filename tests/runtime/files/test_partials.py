"""What a killed process left unfinished is removed at the next start; what is being written is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import danet_runtime
import danet_train
from danet_runtime.files import atomic as files
from danet_runtime.files import partials
from danet_runtime.files.atomic import replacing, replacing_folder
from danet_runtime.files.partials import discard, remove_dead

PACKAGES = ("danet_runtime", "danet_train")

WRITE = """
    import sys
    from pathlib import Path
    from {package}.files.atomic import {writer}
    with {writer}(Path(sys.argv[1]){more}) as partial:
        (partial / "half" if partial.is_dir() else partial).write_text("half")
        print("ready", flush=True)
        sys.stdin.read()
"""


@contextmanager
def writing(path: Path, package: str, writer: str, more: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """A process that is in the middle of writing ``path``."""
    script = textwrap.dedent(WRITE.format(package=package, writer=writer, more=more))
    process = subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_file_that_a_killed_process_left_is_removed_by_the_next_that_writes_it(
    tmp_path: Path, package: str, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "out.json"
    with writing(target, package, "replacing") as process:
        kill(process)
    (left,) = tmp_path.iterdir()
    (tmp_path / ".other.json").write_text("mine")
    with replacing(target) as partial:
        partial.write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.json", "out.json"]
    assert f"{left} is removed: a process that was killed had not finished it" in caplog.text


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("name", ["n" * 255, "é" * 124 + ".json", "n" * 249 + ".json"])
def test_what_has_no_room_in_its_name_for_a_mark_is_removed_too_and_nothing_of_a_like_name(
    tmp_path: Path, package: str, name: str
) -> None:
    target, like = tmp_path / name, tmp_path / f"{name[:-6]}X{name[-5:]}"
    with writing(target, package, "replacing") as process, writing(like, package, "replacing") as other:
        kill(process)
        kill(other)
    assert len(list(tmp_path.iterdir())) == 2
    for path in tmp_path.iterdir():
        path.name.encode()  # no half of a character
    with replacing(target) as partial:
        partial.write_text("new")
    left = {path.name for path in tmp_path.iterdir()} - {name}
    assert target.read_text() == "new"
    assert len(left) == 1
    remove_dead(like)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_of_a_long_name_that_was_moved_away_is_put_back_under_its_whole_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / ("n" * 255)
    target.mkdir()

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", _once(Path.rename))
        with suppress(KeyboardInterrupt), partials.retired_folder(target):
            raise KeyboardInterrupt
    assert not target.exists()
    remove_dead(target)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def _once(rename: Callable[..., Path]) -> Callable[..., Path | None]:
    """The first call happens; what comes after it does not, as after a kill."""
    calls = []

    def first_alone(path: Path, to: Path) -> Path | None:
        calls.append(path)
        return rename(path, to) if len(calls) == 1 else None

    return first_alone


@pytest.mark.parametrize(("package", "more"), [("danet_runtime", ', "mark"'), ("danet_train", "")])
def test_a_folder_that_a_killed_process_left_is_removed_by_the_next_that_writes_it(
    tmp_path: Path, package: str, more: str
) -> None:
    target = tmp_path / "bundle"
    writer = "replacing_folder" if more else "new_folder"
    with writing(target, package, writer, more) as process:
        kill(process)
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    with replacing_folder(target, "mark") as partial:
        (partial / "mark").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("package", PACKAGES)
def test_what_another_process_is_writing_is_left_alone_also_by_the_same_name(
    tmp_path: Path, package: str
) -> None:
    target = tmp_path / "out.json"
    with writing(target, package, "replacing"):
        assert remove_dead(target) == []
        with replacing(target) as partial:
            partial.write_text("mine")
        assert len(list(tmp_path.iterdir())) == 2
    assert target.read_text() == "half"  # it ended after this one
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_the_leftovers_of_a_name_with_the_time_of_a_start_are_those_of_every_start(tmp_path: Path) -> None:
    mine, other = tmp_path / "report-20261121T151042Z.json", tmp_path / "drive-20261121T151042Z.json"
    for path in (mine, other):
        with writing(path, "danet_runtime", "replacing") as process:
            kill(process)
    (removed,) = remove_dead(tmp_path / "report-20270101T000000Z.json")
    assert removed.name.startswith(".report-20261121T151042Z.")
    assert len(list(tmp_path.iterdir())) == 1


def test_what_belongs_to_another_user_stays(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a file away needs root")
    left = tmp_path / ".out.12-ab.partial.json"
    left.touch()
    os.chown(left, 12345, 12345)
    assert remove_dead(tmp_path / "out.json") == []
    assert left.exists()


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / ".out.12-ab.partial").symlink_to(tmp_path / "precious")
    remove_dead(tmp_path / "out")
    assert (tmp_path / "precious" / "file").exists()


def test_something_stands_under_the_name_at_every_moment_of_an_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    seen = []
    for name in ("rename", "replace"):
        real: Callable[..., object] = getattr(os, name)

        def renaming(*paths: object, real: Callable[..., object] = real) -> None:
            real(*paths)
            seen.append(target.exists())

        monkeypatch.setattr(os, name, renaming)
    for version in range(3):
        with replacing_folder(target, "mark", overwrite=True) as partial:
            (partial / "mark").write_text(str(version))
    assert all(seen)
    assert (target / "mark").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_where_names_cannot_be_exchanged_a_kill_between_is_mended_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that does not serve it."""
    target = tmp_path / "bundle"
    script = """
        import os, sys
        from pathlib import Path
        from danet_runtime.files import atomic as files
        from danet_runtime.files.atomic import replacing_folder
        files.exchange = lambda *_: False
        target = Path(sys.argv[1])
        for version in range(2):
            with replacing_folder(target, "mark", overwrite=True) as partial:
                (partial / "mark").write_text(str(version))
                if version:
                    real = os.rename
                    def rename(*paths):
                        real(*paths)
                        os.kill(os.getpid(), 9)
                    os.rename = rename
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), target], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    remove_dead(target)
    assert (target / "mark").read_text() == "0"
    monkeypatch.setattr(files, "exchange", lambda *_: False)
    with replacing_folder(target, "mark", overwrite=True) as partial:
        (partial / "mark").write_text("2")
    assert (target / "mark").read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_half_of_a_folder_that_is_removed_never_stands_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "box"
    target.mkdir()
    (target / "file").touch()
    monkeypatch.setattr(partials, "_remove", lambda _path: None)  # killed just then
    discard(target)
    monkeypatch.undo()
    assert not target.exists()
    assert len(remove_dead(target)) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("of_runtime", "of_train"),
    [
        *(
            (module, module)
            for module in (
                "files/durability",
                "files/names",
                "files/partials",
                "pictures/decoding",
                "pictures/header",
                "pictures/panels",
                "pictures/wholeness",
            )
        ),
        ("cli/console/progress", "cli/progress"),
    ],
)
def test_training_and_the_runtime_which_import_no_sibling_have_the_same_text(
    of_runtime: str, of_train: str
) -> None:
    texts = [
        (Path(str(package.__file__)).parent / f"{module}.py")
        .read_text()
        .replace("from danet_train.", "from danet_runtime.")
        for package, module in ((danet_runtime, of_runtime), (danet_train, of_train))
    ]
    assert texts[0] == texts[1]
