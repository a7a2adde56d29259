"""The help of every command: within 80 columns, in groups where it is long, with an example that parses."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from danet_runtime.cli.app import build_app
from danet_runtime.cli.options.everywhere import EVERYWHERE

FEW = 8
"""Options up to which one group is enough."""


def commands(group: Any, *path: str) -> Iterator[tuple[str, Any]]:
    """Every command, those of groups too, by the words that name it."""
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from commands(command, *path, name)
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(typer.main.get_command(build_app())))


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> tuple[str, Any]:
    return request.param, COMMANDS[request.param]


@pytest.fixture
def shown(command: tuple[str, Any]) -> str:
    """The help of the command as a terminal of 80 columns shows it."""
    return help_of(command[0])


@cache
def help_of(name: str) -> str:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("typer.rich_utils.MAX_WIDTH", 80)
        done = CliRunner().invoke(build_app(), [*name.split(), "--help"])
    assert done.exit_code == 0, done.output
    return done.output


def own_options(command: Any) -> list[Any]:
    shown = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
    return [one for one in shown if one.rich_help_panel != EVERYWHERE]


def test_it_fits_80_columns_and_names_every_option_whole(command: tuple[str, Any], shown: str) -> None:
    assert max(map(len, shown.splitlines())) <= 80
    assert "<bool>" not in shown
    for option in own_options(command[1]):
        for name in (option.opts[0], *option.secondary_opts):
            assert re.search(rf"(?<![\w-]){name}(?![\w-])", shown), name


def test_options_stand_in_named_groups_where_they_are_many(command: tuple[str, Any], shown: str) -> None:
    options = own_options(command[1])
    groups = {option.rich_help_panel for option in options}
    titles = re.findall(r"^╭─ (.*?) ─+╮$", shown, re.MULTILINE)
    assert titles[-1] == EVERYWHERE
    if len(options) > FEW:
        assert None not in groups
        assert len(groups) >= 3
        assert "Options" not in titles
    else:
        assert groups <= {None}


def test_it_has_an_example_that_the_command_takes(command: tuple[str, Any]) -> None:
    name, found = command
    examples = re.findall(r"^Example: (.*)$", found.help, re.MULTILINE)
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[: 1 + len(name.split())] == ["danet", *name.split()]
        found.make_context(name, words[1 + len(name.split()) :])


def test_lines_of_the_source_break_no_sentence(command: tuple[str, Any]) -> None:
    assert all("\n" not in paragraph for paragraph in command[1].help.split("\n\n"))
