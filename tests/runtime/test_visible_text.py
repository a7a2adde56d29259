"""Words of others reach no terminal as orders, and crash nothing that prints them."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import subprocess
import unicodedata
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from danet_command import DANET
from forged_bundles import forge
from hypothesis import example, given
from hypothesis import strategies as st
from recorded_box import record
from rich.table import Table
from typer.testing import CliRunner

from danet_runtime.bundle import Bundle
from danet_runtime.cli.app import build_app
from danet_runtime.cli.console.printing import open_console, tell
from danet_runtime.visible_text import VisibleFormatter, visible, visible_stream

UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
EVIL = {
    "title": "\x1b]0;owned\x07",
    "erase": "road\r\x1b[2Kall is well",
    "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x1b\\",
    "C1": "\x9b31mred\x9d0;x\x9c",
    "bidi": "road\u202egnp.exe\u2066",
    "line": "road\ndanet: error: all is lost",
    "surrogate": "road\udcff\ud800",
    "markup": "[red]road[/red]",
    "closing markup": "road[/]",
    "unfinished markup": "[link=http://x]road [/nothing] \\[",
    "emoji": ":skull: road",
    "separators": "a\u2028b\u2029c\x85d",
}


def is_harmless(text: str) -> bool:
    return all(unicodedata.category(letter) not in UNSEEN for letter in text)


@given(st.text(alphabet=st.characters()) | st.text(alphabet="\x1b[]0;m\r\n\x07\x9b\u202e\udc80"))
def test_what_is_shown_is_one_line_without_any_order(text: str) -> None:
    shown = visible(text)
    assert is_harmless(shown)
    shown.encode("utf-8")
    assert visible(shown) == shown
    printable = [letter for letter in text if letter.isprintable()]
    remaining = iter(shown)
    assert all(letter in remaining for letter in printable)  # in order; nothing of it is lost


@given(st.text())
def test_what_can_be_seen_stays_as_it_is(text: str) -> None:
    seen = "".join(letter for letter in text if letter.isprintable())
    assert visible(seen) == seen == visible_stream(seen, has_colors=False)


def test_a_byte_that_is_no_text_is_shown_as_that_byte() -> None:
    assert visible(os.fsdecode(b"caf\xe9.png")) == r"caf\xe9.png"
    assert visible("Straße 道 é") == "Straße 道 é"


@given(st.text(alphabet=st.characters()) | st.text(alphabet="\x1b[]0;m?25hlKA\r\n\x07\x9b"))
@example("all is well\r\x1b[")  # a line is begun again by what is no sequence of rich's
def test_a_stream_keeps_lines_and_richs_own_sequences_alone(text: str) -> None:
    shown = visible_stream(text, has_colors=True)
    left = re.sub(r"\x1b\[(?:[0-9;]*m|\?25[hl]|[0-9]*[ABGHJK])|\r(?=\x1b\[|\n)|\n", "", shown)
    assert is_harmless(left)
    assert is_harmless(visible_stream(text, has_colors=False).replace("\n", ""))


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_a_console_takes_text_for_text_in_lines_and_tables(
    evil: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console = open_console()
    console.print(f"written: {evil}", soft_wrap=True)
    table = Table("name", title=evil)
    table.add_row(evil)
    console.print(table)
    tell(evil)
    output = capsys.readouterr().out
    first, rest = output.split("\n", 1)
    assert first == f"written: {visible(evil)}"
    assert rest.endswith(f"{visible(evil)}\n")
    assert is_harmless(output.replace("\n", ""))


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_a_record_of_the_log_is_one_line(evil: str) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.Logger("it")
    logger.addHandler(handler)
    logger.warning("the camera %s is lost", evil)
    assert out.getvalue() == f"WARNING it: the camera {visible(evil)} is lost\n"


@pytest.mark.parametrize("name", ["title", "erase", "line", "closing markup", "markup", "bidi", "C1"])
def test_a_flight_recording_of_others_is_listed_and_shown_without_orders(
    bundle: Bundle, tmp_path: Path, name: str
) -> None:
    for number in (1, 2):
        record(bundle, tmp_path / "boxes" / f"blackbox-{number}", word=EVIL[name])
    for folder in (tmp_path / "boxes", tmp_path / "boxes" / "blackbox-1"):
        done = CliRunner().invoke(build_app(), ["replay", str(folder)], env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.exception
        assert is_harmless(done.output.replace("\n", ""))
        assert visible(EVIL[name]) in done.output


@pytest.mark.parametrize("name", ["title", "closing markup", "line"])
def test_class_names_of_a_bundle_of_others_are_compared_without_orders(
    bundle: Bundle, tmp_path: Path, name: str, picture_maker: Callable[..., np.ndarray]
) -> None:
    def rename(manifest: dict) -> None:
        manifest["classes"][0]["name"] = EVIL[name]

    forged = forge(bundle, tmp_path / "b", {}, rename)
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "1.png"), picture_maker(48, 64))
    command = [
        "compare",
        forged,
        "--data",
        tmp_path / "in",
        "--b",
        "onnxruntime:fp32",
        "-o",
        tmp_path / "out",
    ]
    done = CliRunner().invoke(build_app(), [str(word) for word in command], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.exception
    assert visible(EVIL[name]) in done.output
    assert is_harmless(done.output.replace("\n", ""))


def run_on_a_terminal(*command: bytes | str, cwd: Path) -> str:
    """What a terminal gets of a command."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*DANET, *command],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", "TERM": "xterm-256color"},
    )
    os.close(follower)
    output = b""
    while True:
        try:
            part = os.read(leader, 4096)
        except OSError:  # all ends are closed
            break
        if not part:
            break
        output += part
    process.wait(60)
    os.close(leader)
    return output.decode("utf-8", "surrogateescape")


NAMES = {
    "escape": b"\x1b]0;owned\x07\x1b[5m.png",
    "bytes": b"caf\xe9\x9b31m.png",
    "bidi": "a\u202egnp\u2028.png".encode(),
    "line and markup": b"a\nb[red].png",
}
EACH_BY_VERIFY = [pytest.param("verify", name, id=f"verify-{words}") for words, name in NAMES.items()]
ALL_AT_ONCE = [  # commands that take seconds to start
    pytest.param(command, b"".join(NAMES.values()), marks=pytest.mark.slow, id=command)
    for command in ("profile", "run", "eval")
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "name"), [*EACH_BY_VERIFY, *ALL_AT_ONCE])
def test_no_command_passes_a_files_name_on_as_orders(tmp_path: Path, name: bytes, command: str) -> None:
    (tmp_path / os.fsdecode(name)).write_bytes(b"no picture")
    arguments = {
        "verify": ["verify", name],
        "profile": ["profile", name],
        "run": ["run", name, name, "-o", b"out.mp4"],
        "eval": ["eval", name, "--data", name],
    }[command]
    output = run_on_a_terminal(*arguments, cwd=tmp_path)
    left = re.sub(r"\x1b\[(?:[0-9;]*m|\?25[hl]|[0-9]*[ABGHJK])|\r(?=\x1b\[|\n)|\n", "", output)
    assert is_harmless(left), ascii(left)
    assert "\x1b[5m" not in output or b"\x1b[5m" not in name
    assert "Traceback" not in output
    assert "danet: error" in output or "Error" in output


def test_json_of_verify_is_ascii_whatever_the_names_are(bundle: Bundle, tmp_path: Path) -> None:
    forged = forge(bundle, tmp_path / "b", {})
    (forged / os.fsdecode(b"\xff\x1b[2J")).write_bytes(b"")
    done = CliRunner().invoke(build_app(), ["verify", str(forged), "--json", "-"])
    assert done.stdout.isascii()
    assert is_harmless(done.stdout.replace("\n", ""))
    assert json.loads(done.stdout)["strangers"]


def test_whatever_prints_does_so_through_the_one_place_that_shows_words_of_others() -> None:
    """JSON, which escapes by itself, and the version alone are printed past it."""
    root = Path(__file__).parents[2]
    files = [file for part in ("runtime", "export", "calibration") for file in (root / part).rglob("*.py")]
    assert len(files) > 100
    for file in files:
        if file.name == "printing.py":
            continue
        text = file.read_text()
        for call in re.findall(r"typer\.echo\(\s*(.{12})", text):
            assert call.startswith(("json.dumps(", 'f"danet {ver')), (file, call)
        assert not re.search(r"(?<![A-Za-z_])Console\(", text), file
