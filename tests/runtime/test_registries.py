"""A source, a sink and a backend are each one new module and one line, and all that lists them knows it.

The toys are put into a copy of the package in just that way; nothing else of it is touched.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import Field
from typer.testing import CliRunner

import danet_runtime
from danet_runtime import Segmenter
from danet_runtime.backends.registry import BACKENDS
from danet_runtime.backends.statement import BackendStatement, EngineStatement
from danet_runtime.bundle import Bundle
from danet_runtime.cli.app import build_app
from danet_runtime.errors import UsageError
from danet_runtime.registry import Registry, Statement
from danet_runtime.sinks import SINKS
from danet_runtime.sinks.protocol.statement import SinkStatement
from danet_runtime.sources import SOURCES
from danet_runtime.sources.protocol.statement import SourceStatement
from danet_runtime.sources.protocol.uri_options import UriOptions

TOY_SOURCE = '''
"""Frames of one grey."""

import numpy as np
from pydantic import Field

from danet_runtime.clock import now_ns
from danet_runtime.sources.protocol.source import FrameInfo
from danet_runtime.sources.protocol.statement import SourceStatement
from danet_runtime.sources.protocol.uri_options import UriOptions


class GreyOptions(UriOptions):
    level: int = Field(0, ge=0, le=255, description="0..255")
    frames: int = Field(1, ge=1, description="COUNT")


class GreySource:
    statement = SourceStatement(
        name="grey", form="grey:", help="one grey", options=GreyOptions, schemes=("grey",)
    )
    size_hw, fps, live = (48, 64), None, False

    @classmethod
    def named(cls, text, wanted):
        return cls(GreyOptions.of(text))

    def __init__(self, options):
        self.level, self.count, self.read = options.level, options.frames, 0

    def read_into(self, buffer):
        if self.read == self.count:
            return None
        buffer[...] = self.level
        self.read += 1
        return FrameInfo(self.read - 1, now_ns())

    def describe(self):
        return {"kind": "grey", "level": self.level}

    def close(self):
        pass
'''

TOY_SINK = '''
"""How many pixels had which label, in a file at the end."""

import json
from pathlib import Path

import numpy as np

from danet_runtime.dependencies import OptionalPackage
from danet_runtime.sinks.protocol.statement import SinkStatement

ABACUS = OptionalPackage("danet_abacus", "Abacus", "counting", "pip install abacus")


class TallySink:
    name = "tally"
    statement = SinkStatement(
        name=name, form="tally:NAME", help="counts", needs=((ABACUS,),), schemes=("tally",)
    )

    @classmethod
    def named(cls, rest, wanted):
        return cls(rest)

    def __init__(self, path):
        self.path, self.seen = Path(path), []

    def open(self, stream_format):
        pass

    def write(self, result):
        self.seen.append([int(result.frame[0, 0, 0]), np.bincount(result.labels.ravel()).tolist()])

    def describe(self):
        return {"kind": self.name, "frames": len(self.seen)}

    def close(self):
        self.path.write_text(json.dumps(self.seen))
'''

TOY_BACKEND = '''
"""ONNX Runtime with one thread."""

from danet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from danet_runtime.backends.statement import BackendStatement, EngineStatement


class LoneBackend:
    name = "lone"
    statement = BackendStatement(name=name, form=name, help="one thread")

    @classmethod
    def opened(cls, bundle, precision, wanted):
        return cls(OnnxRuntimeBackend(bundle, precision, threads=1))

    def __init__(self, inner):
        self.infer, self.close = inner.infer, inner.close

    def describe(self):
        return {"name": self.name}
'''

TOYS = {
    "sources": ("grey.py", TOY_SOURCE, "GreySource"),
    "sinks": ("tally.py", TOY_SINK, "TallySink"),
    "backends": ("lone.py", TOY_BACKEND, "LoneBackend"),
}

Answers = dict[tuple[str, ...], tuple[int, str]]

RUN = ("--backend", "lone", "--sink", "tally:seen", "--report", "r.json")
WRONG = {
    ("nowhere:x",): "expected grey:, a video file",
    ("grey:?level=256",): "expected grey:?level=0..255&frames=COUNT",
    ("grey:?color=1",): "expected options of level, frames, each once",
    ("grey:", "--sink", "nowhere:x"): "expected tally:NAME, a video file",
    ("grey:", "--backend", "abacus"): "'abacus' is not one of 'lone', 'onnxruntime'",
    ("grey:", "--backend", "lone", "--threads", "2"): "lone has no threads to be counted",
    ("grey:", "--backend", "lone", "--build"): "lone takes no engines",
}

ASK = """
import json, sys
from typer.testing import CliRunner
from danet_runtime.cli.app import build_app
answers = []
for arguments in json.loads(sys.stdin.read()):
    done = CliRunner().invoke(build_app(), arguments)
    code = getattr(done.exception, "exit_code", done.exit_code)
    answers.append((code, " ".join((done.output + str(done.exception)).replace("│", " ").split())))
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def with_toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, with a module and a line for each toy."""
    root = tmp_path_factory.mktemp("toys")
    package = root / "danet_runtime"
    original = Path(danet_runtime.__file__).parent
    shutil.copytree(original, package, ignore=shutil.ignore_patterns("__pycache__"))
    for room, (file, text, name) in TOYS.items():
        (package / room / file).write_text(text)
        registry = package / room / "registry.py"
        before, middle, after = registry.read_text().partition("] = Registry(\n")
        line = f'    "danet_runtime.{room}.{Path(file).stem}:{name}",\n'
        registry.write_text(before + middle + line + after)
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def answers(with_toys: Path, bundle: Bundle, folder: Path) -> Answers:
    """Exit code and output of each command; one process runs them all."""
    of_runs = [("grey:?level=7&frames=3", *RUN), *WRONG]
    asked = [
        ("run", "--help"),
        ("doctor", "--json", "-"),
        *(("run", str(bundle.path), *run) for run in of_runs),
    ]
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(with_toys), "COLUMNS": "500", "TERMINAL_WIDTH": "500"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    keys = [("help",), ("doctor",), *of_runs]
    return dict(zip(keys, map(tuple, json.loads(done.stdout)), strict=True))


def test_each_toy_is_one_new_module_and_one_new_line(with_toys: Path) -> None:
    original = Path(danet_runtime.__file__).parent
    for room in TOYS:
        found = filecmp.dircmp(original / room, with_toys / "danet_runtime" / room, ignore=["__pycache__"])
        assert (found.left_only, found.right_only) == ([], [TOYS[room][0]])
        assert found.diff_files == ["registry.py"]
        before = (original / room / "registry.py").read_text().splitlines()
        after = (with_toys / "danet_runtime" / room / "registry.py").read_text().splitlines()
        assert len(after) == len(before) + 1


def test_a_run_goes_from_the_toy_source_through_the_toy_backend_to_the_toy_sink(
    answers: Answers, folder: Path, bundle: Bundle
) -> None:
    code, output = answers[("grey:?level=7&frames=3", *RUN)]
    assert code == 0, output
    with Segmenter(bundle) as segmenter:
        labels = segmenter.labels_of(np.full((48, 64, 3), 7, np.uint8))
    assert json.loads((folder / "seen").read_text()) == [[7, np.bincount(labels.ravel()).tolist()]] * 3
    report = json.loads((folder / "r.json").read_text())
    assert report["cameras"][0]["source"]["kind"] == "grey"
    assert report["cameras"][0]["sinks"][0]["kind"] == "tally"
    assert "lone" in json.dumps(report)


def test_help_lists_the_toys(answers: Answers) -> None:
    code, output = answers[("help",)]
    assert code == 0
    assert "grey: (one grey, with ?level=0..255&frames=COUNT)" in output
    assert "tally:NAME (counts)" in output
    assert "lone (one thread)" in output


def test_the_doctor_lists_the_toys_and_what_one_lacks(
    answers: Answers,
) -> None:
    code, output = answers[("doctor",)]
    assert code == 0
    assert '"grey": "installed"' in output
    assert '"tally": "not usable: missing: pip install abacus"' in output
    assert '"lone": "usable"' in output


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_errors_list_the_toys_and_are_wrong_usage(answers: Answers, arguments: tuple[str, ...]) -> None:
    code, output = answers[arguments]
    assert code == 2
    assert WRONG[arguments] in output


class ToyEngines:
    """A backend whose engines are TensorRT's, by another name."""

    statement = EngineStatement(
        name="toy-engines", form="toy-engines", flavour="tensorrt-rtx", takes_targets=True
    )


def test_danet_build_asks_the_registry_whose_engines_there_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "toys", SimpleNamespace(ToyEngines=ToyEngines))
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 500)
    app = build_app()

    def output(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["build", *arguments])
        return " ".join((done.output + str(done.exception)).replace("│", " ").split())

    BACKENDS.add("toys:ToyEngines")
    try:
        assert "[tensorrt|tensorrt-rtx|toy-engines]" in (help := output("--help"))
        assert "toy-engines ahead of time, for each --target" in help
        assert "tensorrt for the GPU here" in help
        bundle = str(tmp_path)
        assert "toy-engines builds ahead of time" in output(bundle, "--backend", "toy-engines")
        assert "toy-engines has no plugins" in output(
            bundle, "--backend", "toy-engines", "--target", "sm_89", "--kernels", "small"
        )
        refused = "'onnxruntime' is not one of 'tensorrt', 'tensorrt-rtx', 'toy-engines'"
        assert refused in output(bundle, "--backend", "onnxruntime")
    finally:
        BACKENDS.remove("toys:ToyEngines")
    assert "builds for the GPU of this machine" in output(
        bundle, "--backend", "tensorrt", "--target", "sm_89"
    )


def stated(registry: Registry[Any]) -> list[Statement]:
    return [one.statement for one in registry]


def test_what_is_listed_fits_its_protocol_and_has_a_name_of_its_own() -> None:
    for registry, kind in ((SOURCES, SourceStatement), (SINKS, SinkStatement), (BACKENDS, BackendStatement)):
        assert all(isinstance(one, kind) for one in stated(registry))
        names = [one.name for one in stated(registry)]
        assert len(names) == len(set(names))
    for source in SOURCES:
        assert {"named", "read_into", "describe", "close"} <= set(dir(source))
    for sink in SINKS:
        assert {"named", "open", "write", "describe", "close"} <= set(dir(sink))
        assert sink.name == sink.statement.name  # by which its report is known


def test_no_two_claim_the_same_scheme_or_suffix() -> None:
    for registry in (SOURCES, SINKS):
        for claims in ("schemes", "suffixes"):
            claimed = [name for one in registry for name in getattr(one.statement, claims)]
            assert len(claimed) == len(set(claimed))
    assert sum(one.statement.reads_other_files for one in SOURCES) == 1
    assert sum(one.statement.reads_folders for one in SOURCES) == 1
    folders = [one.statement.name for one in SINKS if one.statement.writes == "folder"]
    assert folders[0] == "masks", "paths without a suffix are of the first"


def test_nothing_is_imported_before_somebody_looks() -> None:
    registry: Registry[Any] = Registry("danet_runtime.no_such_module:Nothing")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        next(iter(registry))


def test_a_program_adds_its_own_class_once() -> None:
    registry: Registry[Any] = Registry("danet_runtime.sinks.masks:MasksSink")
    for _ in range(2):
        registry.add("danet_runtime.sinks.window:WindowSink")
    assert [one.name for one in stated(registry)] == ["masks", "window"]
    assert registry.forms == "masks:FOLDER or a folder, or window:"


class Knobs(UriOptions):
    """Options of each type that a source has."""

    level: int = Field(3, ge=0, le=9, description="0..9")
    rate: float = Field(1.5, gt=0, allow_inf_nan=False, description="RATE")
    loud: bool = Field(False, description="1")
    name: str | None = Field(None, description="NAME")


def test_options_have_types_and_defaults() -> None:
    assert Knobs.of("x:") == Knobs()
    knobs = Knobs.of("x:y?level=9&rate=0.5&loud=1&name=a%20b")
    assert (knobs.level, knobs.rate, knobs.loud, knobs.name) == (9, 0.5, True, "a b")
    assert Knobs.written() == "?level=0..9&rate=RATE&loud=1&name=NAME"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("level=10", r"expected x:\?level=0..9&.* \(got level='10'\)"),
        ("level=a", r"\(got level='a'\)"),
        ("level=", r"\(got level=''\)"),
        ("rate=nan", r"\(got rate='nan'\)"),
        ("rate=0&level=11", r"\(got level='11' and rate='0'\)"),
        ("loud=perhaps", r"\(got loud='perhaps'\)"),
        ("level=1&level=2", "each once"),
        ("volume=1", r"expected options of level, rate, loud, name, each once \(got volume\)"),
    ],
)
def test_options_that_are_none_are_told_with_what_was_expected(query: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Knobs.of(f"x:?{query}")
