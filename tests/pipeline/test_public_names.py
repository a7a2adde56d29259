"""What stands at the top of the four packages: every name is shown, can be had, and is where it says.

The names are read from the packages and their modules, and listed here nowhere.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("danet_runtime", "danet_train", "danet_export", "danet_calibration")
HEAVY = {"torch", "onnx", "onnxruntime", "cv2", "av", "pydantic", "typer", "rich", "triton", "tensorrt_rtx"}


def folder_of(package: str) -> Path:
    return REPOSITORY / package.removeprefix("danet_") / package


def imported_for_type_checkers(package: str) -> dict[str, str]:
    """Name: module, of the imports that a type checker and an editor see."""
    tree = ast.parse((folder_of(package) / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    return {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.asname == alias.name  # as itself: public also for a strict checker
    }


def modules_with_public_names() -> Iterator[str]:
    for package in PACKAGES:
        root = folder_of(package)
        for file in sorted(root.rglob("*.py")):
            if re.search(r"^__all__\b", file.read_text(encoding="utf-8"), re.MULTILINE):
                parts = file.relative_to(root.parent).with_suffix("").parts
                yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def names_in_use(package: str) -> set[str]:
    """What the README, the docs, the benchmarks and the tests import from the top of a package."""
    found: set[str] = set()
    statement = re.compile(rf"^\s*\"?from {package} import (?:\((.*?)\)|([\w, ]+))", re.MULTILINE | re.DOTALL)
    files = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    files += [*(REPOSITORY / "benchmarks").rglob("*.py"), *(REPOSITORY / "tests").rglob("*.py")]
    for file in files:
        for several, one_line in statement.findall(file.read_text(encoding="utf-8")):
            found |= {name.split()[0] for name in (several or one_line).split(",") if name.strip()}
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_those_that_type_checkers_see_and_come_from_where_these_look(package: str) -> None:
    module = importlib.import_module(package)
    seen = imported_for_type_checkers(package)
    assert sorted(module.__all__) == sorted(seen)
    for name, home in seen.items():
        value = getattr(module, name)
        assert value is getattr(importlib.import_module(home), name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__module__ == home, f"{name} is defined in {value.__module__}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_error_is_public(package: str) -> None:
    errors = importlib.import_module(f"{package}.errors")
    defined = {
        name
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert defined
    assert defined <= set(importlib.import_module(package).__all__)


@pytest.mark.parametrize("name", [*modules_with_public_names()])
def test_a_module_shows_its_public_names_and_has_them(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    assert set(module.__all__) <= set(dir(module))
    assert all(getattr(module, public) is not None for public in module.__all__)
    with pytest.raises(AttributeError, match="Nothing"):
        module.Nothing  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_imported_from_the_top_of_a_package_is_public_or_one_of_its_modules(package: str) -> None:
    modules = {entry.stem for entry in folder_of(package).iterdir()}
    assert names_in_use(package) - modules <= set(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_and_looking_at_its_names_loads_nothing_heavy(package: str) -> None:
    code = f"import sys, {package}; assert {package}.__all__; dir({package}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
