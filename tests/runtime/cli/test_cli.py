"""The ``danet`` command: what is installed is listed, what is broken breaks nothing else."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint, version
from typing import Any

import pytest
import typer
from danet_command import danet
from typer.testing import CliRunner

from danet_runtime.cli import app as cli
from danet_runtime.cli import entry
from danet_runtime.cli.options.arguments import OVERLAYS
from danet_runtime.cli.options.precisions import backend_and_precision
from danet_runtime.cli.options.renamed import RENAMED, with_new_names
from danet_runtime.errors import UsageError

runner = CliRunner()


def healthy(fail: bool = False) -> None:
    """A command that works."""
    if fail:
        raise UsageError("that makes no sense")
    typer.echo("well")


def counted(share: float = 0.5) -> None:
    """A command with a number."""
    typer.echo(f"{share:g}")


def unreadable(what: int | str) -> None:
    """A command with a parameter that typer cannot turn into an option."""


group = typer.Typer(help="Commands of a kind.", no_args_is_help=True)
group.command("well")(healthy)
group.command("count")(counted)


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    sys.modules["danet_test_commands"] = sys.modules[__name__]
    found = [
        EntryPoint("zebra", "danet_test_commands:healthy", cli.COMMAND_GROUP),
        EntryPoint("herd", "danet_test_commands:group", cli.COMMAND_GROUP),
        EntryPoint("export", "no_such_module:export", cli.COMMAND_GROUP),
        EntryPoint("train", "danet_test_commands:no_such_function", cli.COMMAND_GROUP),
        EntryPoint("eval", "danet_test_commands:unreadable", cli.COMMAND_GROUP),
    ]
    monkeypatch.setattr(cli, "entry_points", lambda group: found)
    yield
    del sys.modules["danet_test_commands"]


def every_command() -> dict[str, Any]:
    group: Any = typer.main.get_command(cli.build_app())
    return {name: group.get_command(None, name) for name in group.list_commands(None)}


@pytest.mark.usefixtures("entries")
def test_a_broken_command_is_listed_as_broken_and_breaks_no_other() -> None:
    app = cli.build_app()
    listing = runner.invoke(app, ["--help"])
    assert listing.exit_code == 0
    assert listing.output.count("(broken:") == 3
    assert listing.output.index("train") < listing.output.index("export") < listing.output.index("zebra")
    assert runner.invoke(app, ["zebra"]).output == "well\n"
    broken = runner.invoke(app, ["export"])
    assert broken.exit_code == 1
    assert "no_such_module" in broken.output


@pytest.mark.usefixtures("entries")
def test_an_entry_may_be_a_group_whose_commands_are_checked_as_the_others() -> None:
    app = cli.build_app()
    assert "Commands of a kind." in runner.invoke(app, ["--help"]).output
    assert runner.invoke(app, ["herd", "well"]).output == "well\n"
    assert runner.invoke(app, ["herd", "count", "--share", "0.25"]).output == "0.25\n"
    refused = runner.invoke(app, ["herd", "count", "--share", "nan"])
    assert refused.exit_code == 2
    assert "finite" in refused.output


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize(
    ("arguments", "code"), [(["zebra", "--fail"], 2), (["zebra", "--nonsense"], 2), ([], 2)]
)
def test_wrong_usage_exits_with_2_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["danet", *arguments])
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert ended.value.code == code
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    if "--fail" in arguments:
        assert printed.err == "danet: error: that makes no sense\n"


def test_the_version_is_the_distributions() -> None:
    assert runner.invoke(cli.build_app(), ["--version"]).output == f"danet {version('danet-runtime')}\n"


def test_the_runtimes_own_commands_are_registered() -> None:
    names = list(every_command())
    assert [name for name in names if name in ("run", "profile", "doctor")] == ["run", "profile", "doctor"]


def test_listing_the_runtimes_commands_loads_nothing_heavy() -> None:
    code = """
import sys
import typer
from danet_runtime.cli import app as cli
found = cli.entry_points(group=cli.COMMAND_GROUP)
entries = [entry for entry in found if entry.value.startswith("danet_runtime")]
cli.entry_points = lambda group: entries
group = typer.main.get_command(cli.build_app())
assert all(group.get_command(None, entry.name).callback for entry in entries)
heavy = "torch triton onnx onnxruntime tensorrt tensorrt_rtx cv2 numpy pydantic".split()
print(*[name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.usefixtures("entries")
def test_no_command_but_the_one_that_is_asked_for_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = EntryPoint.load
    monkeypatch.setattr(EntryPoint, "load", lambda entry: loaded.append(entry.name) or load(entry))
    assert runner.invoke(cli.build_app(), ["zebra"]).output == "well\n"
    assert loaded == ["zebra"]


@pytest.mark.usefixtures("entries")
def test_a_misspelt_command_is_told_the_nearest_of_all() -> None:
    misspelt = runner.invoke(cli.build_app(), ["zebr"])
    assert misspelt.exit_code == 2
    assert "Did you mean 'zebra'?" in misspelt.output


@pytest.mark.usefixtures("entries")
def test_a_command_of_a_package_that_is_not_there_is_told_with_the_package() -> None:
    refused = runner.invoke(cli.build_app(), ["calibrate", "bundle"])
    assert refused.exit_code == 2
    assert "danet-calibration" in refused.output


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize("arguments", [["-q", "zebra"], ["zebra", "--quiet"]])
def test_quiet_says_nothing_at_any_place_and_hides_no_error(arguments: list[str]) -> None:
    assert runner.invoke(cli.build_app(), arguments).output == ""
    assert isinstance(runner.invoke(cli.build_app(), [*arguments, "--fail"]).exception, UsageError)


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize("arguments", [["-v", "zebra"], ["zebra", "-v"]])
def test_more_is_logged_at_any_place(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    levels: list[int] = []
    monkeypatch.setattr(logging.getLogger(), "setLevel", levels.append)
    assert runner.invoke(cli.build_app(), arguments).output == "well\n"
    assert levels[-1] == logging.INFO


@pytest.mark.parametrize("given", [["--json", "-"], ["--json"], ["--json=-"]])
def test_json_on_standard_output_stands_there_alone(given: list[str]) -> None:
    done = runner.invoke(cli.build_app(), ["verify", "nowhere", *given])
    assert done.exit_code != 0
    assert json.loads(done.stdout)["kind"] == "NoBundleError"


def test_the_help_of_run_fits_two_screens_and_help_all_explains_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)
    short, whole = (
        runner.invoke(cli.build_app(), ["run", asked]).output for asked in ("--help", "--help-all")
    )
    assert len(short.splitlines()) <= 100
    assert all(len(line) <= 80 for line in short.splitlines())
    for parameter in every_command()["run"].params:
        if not parameter.hidden:
            assert parameter.opts[0] in " ".join(short.split())
            assert (parameter.opts[0][:20]) in whole


def test_replay_takes_the_overlay_options_of_run() -> None:
    of_run, of_replay = (
        {
            one.opts[0]: (one.help, one.default, one.min, one.max)
            for one in every_command()[name].params
            if getattr(one, "rich_help_panel", None) == OVERLAYS
        }
        for name in ("run", "replay")
    )
    del of_run["--grey-masks"]  # a replay writes no masks
    assert len(of_run) > 5
    assert of_replay == of_run


def test_a_precision_is_said_with_its_backend_everywhere_and_the_old_pair_still_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert backend_and_precision("tensorrt:int8", None) == ("tensorrt", "int8")
    assert backend_and_precision("tensorrt", "int8") == ("tensorrt", "int8")
    assert backend_and_precision("tensorrt:int8", "int8") == ("tensorrt", "int8")
    assert backend_and_precision("onnxruntime", None) == ("onnxruntime", None)
    with pytest.raises(UsageError, match="differ"):
        backend_and_precision("tensorrt:int8", "fp16")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 500)
    for command in (["profile", "b"], ["run", "b", "v"], ["build", "b"]):
        refused = runner.invoke(cli.build_app(), [*command, "--backend", "tensorrt:fp15"])
        assert refused.exit_code == 2
        assert "fp32, fp16, int8" in refused.output


def test_the_shells_completion_is_typers() -> None:
    assert "--install-completion" in runner.invoke(cli.build_app(), ["--help"]).output


def test_the_package_runs_as_the_command() -> None:
    done = danet("--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"danet {version('danet-runtime')}\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("made", [ImportError("initialization"), UsageError("not there"), SystemExit(1)])
def test_an_interruption_of_which_native_code_makes_another_error_is_one(monkeypatch, capsys, number, made):
    def load() -> None:
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        except KeyboardInterrupt:
            raise made from None

    monkeypatch.setattr(cli, "build_app", lambda: load)
    with pytest.raises(SystemExit) as end:
        entry._run()
    assert end.value.code == 1
    assert capsys.readouterr().err == "danet: interrupted\n"


def test_options_that_were_renamed_are_still_known_by_their_old_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = {"--flight-recorder", "--flight-recorder-keep"}
    given = ["a.mp4", "--black-box", "boxes", "--black-box-keep=3", "--ladder", "x", "--", "--black-box"]
    expected = [
        "a.mp4",
        "--flight-recorder",
        "boxes",
        "--flight-recorder-keep=3",
        "--ladder",
        "x",
        "--",
        "--black-box",
    ]
    assert with_new_names(given, known) == expected
    assert "--black-box is called --flight-recorder now" in capsys.readouterr().err


def test_every_renamed_option_is_one_of_a_command_under_its_new_name_alone() -> None:
    options = {
        name
        for command in every_command().values()
        for parameter in command.params
        for name in parameter.opts
    }
    assert set(RENAMED.values()) <= options
    assert set(RENAMED) & options <= {"--frames"}  # which elsewhere is a number of frames
