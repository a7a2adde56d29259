"""How `danet` begins: signals in its first moments, closed standard streams, numbers that are none."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from danet_command import DANET

from danet_runtime.bundle import Bundle
from danet_runtime.cli import entry as entry_point
from danet_runtime.cli.app import COMMAND_GROUP, build_app
from danet_runtime.errors import UsageError
from danet_runtime.stream.state.options import StreamOptions


def signalled_while_importing(folder: Path, number: int, *wrapper: str) -> subprocess.CompletedProcess[str]:
    """Run the command, which gets the signal while it imports its first library."""
    script = f"import os\nos.kill(os.getpid(), {number})\nraise SystemExit(7)\n"
    (folder / "typer.py").write_text(script)
    return subprocess.run(
        [*wrapper, *DANET, "doctor"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_libraries_are_imported_ends_in_order(tmp_path: Path, number: int) -> None:
    done = signalled_while_importing(tmp_path, number)
    assert (done.returncode, done.stderr) == (1, "danet: interrupted\n")


def test_a_hangup_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    done = signalled_while_importing(tmp_path, signal.SIGHUP, "nohup")
    assert done.returncode == 7


@pytest.mark.parametrize("unfinished", [".scenes.17-0123abcd.partial", ".a.pt.17-0123abcd.partial.png"])
def test_a_path_that_cannot_be_written_is_told_by_the_users_name_with_what_to_do(
    unfinished: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        entry_point._end_failed(OSError(errno.EROFS, "Read-only file system", f"/mnt/{unfinished}"))
    assert ended.value.code == 1
    asked_for = "/mnt/a.pt.png" if unfinished.endswith("png") else "/mnt/scenes"
    words = f"danet: error: {asked_for}: Read-only file system; give another path\n"
    assert capsys.readouterr().err == words


@pytest.mark.parametrize(
    "closed",
    [">&-", "<&- >&- 2>&-", *(pytest.param(one, marks=pytest.mark.slow) for one in ("2>&-", "<&-"))],
)
def test_a_closed_standard_stream_is_no_error_and_nothing_printed_lands_in_an_output(
    bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path], closed: str
) -> None:
    video = video_maker(tmp_path / "drive.mp4", 5)
    arguments = ("run", str(bundle.path), str(video), "--sink", "out.jsonl", "--masks", "masks")
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *DANET, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 5
    assert all(line.startswith("{") for line in (tmp_path / "out.jsonl").read_text().splitlines())
    assert len(list((tmp_path / "masks").glob("*.png"))) == 5


def number_options() -> list[Any]:
    """Every option of every command that takes a number, with what else the command needs."""
    found = []
    group: Any = typer.main.get_command(build_app())
    for command, function in commands_of(group):
        hints = get_type_hints(function)
        for option in command.params:
            kinds = {hints.get(option.name), *get_args(hints.get(option.name))} & {int, float}
            if option.param_type_name == "option" and kinds:
                needed = [one for one in command.params if one.required and one is not option]
                words = ["x" for one in needed if one.param_type_name == "argument"]
                words += [f"{one.opts[-1]}=x" for one in needed if one.param_type_name == "option"]
                case = (command, option.opts[0], int in kinds, words)
                found.append(pytest.param(*case, id=f"{command.name} {option.opts[0]}"))
    return found


def commands_of(group: Any) -> Iterator[tuple[Any, Callable[..., Any]]]:
    """Every command with its function; of a group, such as `danet data`, each of its own."""
    for entry in entry_points(group=COMMAND_GROUP):
        command, loaded = group.get_command(None, entry.name), entry.load()
        if isinstance(loaded, typer.Typer):
            functions = {info.name: info.callback for info in loaded.registered_commands}
            yield from ((one, functions[name]) for name, one in command.commands.items())
        else:
            yield command, loaded


@pytest.mark.parametrize(("command", "option", "is_whole", "needed"), number_options())
def test_every_option_refuses_what_is_no_number_of_a_sensible_size(
    command: Any, option: str, is_whole: bool, needed: list[str]
) -> None:
    for value in ("9" * 30, "-" + "9" * 30) if is_whole else ("nan", "inf", "-inf", "1e300", "-1e300"):
        with pytest.raises(typer.BadParameter):
            command.make_context("danet", [*needed, f"{option}={value}"])


@pytest.mark.parametrize("name", ["deadline_ms", "source_timeout_s", "give_up_after_s"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 0, -1])
def test_a_program_is_refused_them_too(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} must be a finite number above 0"):
        StreamOptions(**{name: value})
