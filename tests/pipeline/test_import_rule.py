"""Which package may import which, read from the source: data moves forward, and no import runs back."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from parsed_sources import nodes_of_source, parsed

REPOSITORY = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "runtime": set(),
    "train": set(),
    "export": {"train", "runtime"},
    "calibration": {"train", "runtime"},
}
PLACE = re.compile(rf"danet_({'|'.join(MAY_IMPORT)})(\.\w+)*\.?(:\w+)?")
"""A module or something in it, as text by which it could be imported: ``danet_train.classes:CITYSCAPES``."""


def sources(package):
    return sorted((REPOSITORY / package / f"danet_{package}").rglob("*.py"))


def docstrings(tree):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, kinds) and node.body and isinstance(node.body[0], ast.Expr)
    }


def modules_named(text):
    """Every module that a source imports, or names in a text of its own and so may import as it runs."""
    tree = parsed(text)
    described = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Constant) and id(node) not in described and is_place(node.value):
            yield node.value.partition(":")[0]


def is_place(value):
    return isinstance(value, str) and PLACE.fullmatch(value) is not None


def siblings_named(text, package):
    tops = {name.split(".")[0] for name in modules_named(text)}
    return {
        top.removeprefix("danet_") for top in tops if top.startswith("danet_") and top != f"danet_{package}"
    }


@cache
def imported_siblings(package):
    siblings = {}
    for file in sources(package):
        for sibling in siblings_named(file.read_text(encoding="utf-8"), package):
            siblings.setdefault(sibling, set()).add(file.relative_to(REPOSITORY).as_posix())
    return siblings


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_the_siblings_it_may(package):
    forbidden = {
        name: files for name, files in imported_siblings(package).items() if name not in MAY_IMPORT[package]
    }
    assert not forbidden


def test_the_siblings_that_are_allowed_are_used():
    assert set(imported_siblings("export")) == {"train", "runtime"}
    assert set(imported_siblings("calibration")) == {"train", "runtime"}


@pytest.mark.parametrize(
    "text",
    [
        "import danet_train",
        "import numpy, danet_train.classes as classes",
        "from danet_train import classes",
        "def late():\n    from danet_train.model.danet import DANet",
        "import_module('danet_train.classes')",
        "importlib.import_module(f'danet_train.model.{name}')",
        "__import__('danet_train')",
        "HOMES = {'DANet': 'danet_train.model.danet:DANet'}",
    ],
)
def test_an_import_is_seen_however_it_is_written(text):
    assert siblings_named(text, "runtime") == {"train"}
    assert siblings_named(text, "train") == set()


@pytest.mark.parametrize(
    "text",
    [
        '"""As danet_train does."""',
        "raise ValueError('the arguments of danet_train.build_model')",
        "import torch",
    ],
)
def test_words_about_a_sibling_are_no_import(text):
    assert siblings_named(text, "runtime") == set()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_all_imports_are_absolute(package):
    for file in sources(package):
        for node in nodes_of_source(file.read_text(encoding="utf-8")):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: relative import"


IMPORTS_AS_IT_RUNS = {
    *(f"{package}/danet_{package}/__init__.py" for package in MAY_IMPORT),  # public names, on first use
    "runtime/danet_runtime/dependencies.py",  # what may be installed or not
    "runtime/danet_runtime/processes/start.py",  # what a child process is started for
    "runtime/danet_runtime/registry.py",  # the classes that are listed as text
    "runtime/danet_runtime/tensorrt/plugins/aot.py",  # of whichever TensorRT is used
    "export/danet_export/kernels/bundle_kernels.py",  # an operator's module by its stem
    "export/danet_export/ops/catalogue.py",
}


def imports_as_it_runs(text):
    called = {node.func for node in nodes_of_source(text) if isinstance(node, ast.Call)}
    names = {node.id if isinstance(node, ast.Name) else getattr(node, "attr", None) for node in called}
    return bool(names & {"import_module", "__import__", "exec_module", "run_module", "run_path"})


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_all_other_imports_are_static(package):
    found = {
        file.relative_to(REPOSITORY).as_posix()
        for file in sources(package)
        if imports_as_it_runs(file.read_text(encoding="utf-8"))
    }
    assert found == {file for file in IMPORTS_AS_IT_RUNS if file.startswith(f"{package}/")}
