"""A vehicle has few packages: every module imports without the heavy ones, and in Python 3.10."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import danet_runtime
from danet_runtime.dependencies import OPTIONAL_PACKAGES

SOURCES = sorted(Path(danet_runtime.__file__).parent.rglob("*.py"))

BLOCKER = """
import sys
class Blocker:
    absent = "torch triton onnx onnxruntime tensorrt tensorrt_rtx cv2 av cuda cryptography polygraphy".split()
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
"""


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_imports_without_the_heavy_packages() -> None:
    printed = python(
        BLOCKER
        + """
import importlib, pkgutil, danet_runtime
def fail(name):
    raise ImportError(name)
for module in pkgutil.walk_packages(danet_runtime.__path__, "danet_runtime.", onerror=fail):
    importlib.import_module(module.name)
    print(module.name)
"""
    )
    packages = {
        "danet_runtime.stream.stream",
        "danet_runtime.sources.video",
        "danet_runtime.cli.commands.run",
    }
    assert packages <= set(printed.split())
    assert len(printed.split()) == len(SOURCES) - 1  # all but the package itself


def test_importing_the_package_loads_numpy_at_most() -> None:
    loaded = python("import sys, danet_runtime; print(*sys.modules)").split()
    assert not {"pydantic", "typer", "rich", "cv2", "onnxruntime", "torch"} & set(loaded)


def test_what_is_missing_is_told_with_what_to_install() -> None:
    printed = python(
        BLOCKER
        + """
from danet_runtime.dependencies import OPTIONAL_PACKAGES, require
from danet_runtime.errors import MissingDependencyError
for package in OPTIONAL_PACKAGES:
    try:
        require(package)
    except MissingDependencyError as error:
        print(error)
"""
    )
    lines = printed.splitlines()
    assert len(lines) == len(OPTIONAL_PACKAGES)
    assert all("which is not installed; pip install" in line for line in lines)
    assert 'pip install "danet-runtime[video]"' in printed
    assert "JetPack's own OpenCV" in printed


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.name)
def test_every_source_follows_the_grammar_of_python_3_10(file: Path) -> None:
    ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 10))
