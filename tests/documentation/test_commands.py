"""Each command in the README and the docs is one that there is, with options that it takes."""

from __future__ import annotations

import contextlib
import importlib.util
import re
from typing import Any

import pytest
import tomllib
import typer
from documentation import REPOSITORY, Block, blocks, inline_commands

from danet_runtime.cli.app import build_app

NO_COMMAND_OF_OURS = {".", "sudo", "python3", "torchrun"}


@pytest.fixture(scope="module")
def danet() -> Any:  # typer brings its own click
    return typer.main.get_command(build_app())


def command_of(danet: Any, words: list[str]) -> tuple[Any, list[str]]:
    """The command that words behind ``danet`` name, groups in groups, and the words that are left."""
    found = danet
    while words and hasattr(found, "get_command"):
        inner = found.get_command(found.context_class(found), words[0])
        if inner is None:
            break
        found, words = inner, words[1:]
    return found, words


def parse(danet: Any, words: list[str]) -> None:
    """Take the words apart as the command line does, and run nothing."""
    command, arguments = command_of(danet, words)
    assert command is not danet, f"danet has no command {words[0]}"
    with contextlib.suppress(typer.Exit):  # of --help and --list-configs
        command.make_context(command.name, list(arguments))


def check(danet: Any, words: list[str]) -> None:
    program = words[0].rpartition("/")[2]
    ours = [index for index, word in enumerate(words) if word == "danet" or word.endswith("bin/danet")]
    if ours and words[0] != "sudo":
        parse(danet, words[ours[0] + 1 :])
    elif program == "make":
        targets = re.findall(r"^\.PHONY: (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= {*targets[0].split()}
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]), words
    elif words[:2] == ["pip", "install"]:
        for word in words[2:]:
            if local := re.fullmatch(r"(?:\./|danet-)(\w+)(?:\[(.*)\])?", word):
                stated = tomllib.loads((REPOSITORY / local[1] / "pyproject.toml").read_text())["project"]
                assert set((local[2] or "").split(",")) - {""} <= set(stated["optional-dependencies"]), word
    else:
        assert program in NO_COMMAND_OF_OURS, f"what is {words}?"


@pytest.mark.parametrize("block", blocks("sh", "ini"), ids=str)
def test_the_commands_of_a_block_can_be_given(danet: Any, block: Block) -> None:
    for words in block.commands():
        check(danet, words)


def test_what_a_sentence_names_has_such_options(danet: Any) -> None:
    seen = 0
    for page, words in inline_commands():
        if re.fullmatch(r"[A-Z{.]+.*", words[1]) or words[1].startswith("-"):  # `danet COMMAND --help`
            continue
        command, rest = command_of(danet, [word.rstrip(",") for word in words[1:]])
        assert command is not danet, f"{page}: danet has no command {words[1]}"
        options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        asked = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)} - {"-h", "--help"}
        assert asked <= options, f"{page}: `{' '.join(words)}`"
        seen += bool(asked)
    assert seen > 10


def test_a_wrong_option_a_wrong_value_and_a_missing_argument_would_be_seen(danet: Any) -> None:
    parse(danet, ["profile", "bundle", "--backend", "onnxruntime:fp16"])
    for wrong in (
        ["profile"],
        ["profile", "b", "--sped", "1"],
        ["profile", "b", "--backend", "onnxruntime:fp15"],
    ):
        with pytest.raises(Exception, match=r"issing|No such option|is not one of|expected BACKEND"):
            parse(danet, wrong)
    with pytest.raises(AssertionError, match="no command"):
        parse(danet, ["polish", "bundle"])
