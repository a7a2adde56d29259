"""Which package may import which, read from the source: data moves forward, and no import runs back."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "runtime": set(),
    "train": set(),
    "export": {"train", "runtime"},
    "calibration": {"train", "runtime"},
}


def imported_siblings(package):
    siblings = {}
    for file in sorted((REPOSITORY / package / f"danet_{package}").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            for name in names:
                top = name.split(".")[0]
                if top.startswith("danet_") and top != f"danet_{package}":
                    siblings.setdefault(top.removeprefix("danet_"), set()).add(
                        file.relative_to(REPOSITORY).as_posix()
                    )
    return siblings


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_the_siblings_it_may(package):
    forbidden = {
        name: files for name, files in imported_siblings(package).items() if name not in MAY_IMPORT[package]
    }
    assert not forbidden


def test_the_check_sees_imports():
    assert set(imported_siblings("export")) == {"train", "runtime"}
    assert set(imported_siblings("calibration")) == {"train", "runtime"}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_all_imports_are_static_and_absolute(package):
    for file in sorted((REPOSITORY / package / f"danet_{package}").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file}: relative import"
