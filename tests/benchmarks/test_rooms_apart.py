"""What makes tables needs nothing of what measures, and what measures makes no tables."""

import ast
import sys

from benchmarks.places import REPOSITORY

FOLDER = REPOSITORY / "benchmarks"
OF_THE_PACKAGES = "configuration.py"  # tells the options that their classes state, and no result


def imported(file):
    """The full names of what a module imports, wherever it stands in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_tables_are_made_with_the_standard_library_alone():
    allowed = tuple(
        f"{name}." for name in (*sys.stdlib_module_names, "benchmarks.places", "benchmarks.tables")
    )
    for file in {*(FOLDER / "tables").glob("*.py")} - {FOLDER / "tables" / OF_THE_PACKAGES}:
        assert not [name for name in imported(file) if not f"{name}.".startswith(allowed)], file.name


def test_what_measures_makes_no_tables():  # records measure nothing: they show what danet wrote
    for file in FOLDER.rglob("*.py"):
        if file.parent.name not in ("tables", "records"):
            assert not [name for name in imported(file) if name.startswith("benchmarks.tables")], file.name
