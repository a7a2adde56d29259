"""The field's words in names, docstrings and help: what was mended once does not come back."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from parsed_sources import parsed

ROOT = Path(__file__).parents[2]
PRODUCTION = ("benchmarks", "calibration", "export", "runtime", "train")
BEGINS_OTHERWISE = re.compile(r"\s*(?:What|Of)\b")
ARGUMENT_OF = re.compile(r"^\s+\**\w+: Of\b", re.MULTILINE)
OLD_TERMS = re.compile(r"ladder|black.?box|(?<![a-z])rungs?(?![a-z])", re.IGNORECASE)
UNNAMED_MEASURE = re.compile(r"\bso\s+(?:many|long)\b(?!\s+as)")

KEPT_SPELLINGS = {
    "benchmarks/calibration/camvid_mixed_precision.py": {'"ladder"'},
    "calibration/danet_calibration/cli.py": {'"ladder"'},
    "calibration/danet_calibration/gate/verdict.py": {'"ladder"', "``ladder``"},
    "calibration/danet_calibration/summary.py": {'"ladder"'},
    "runtime/danet_runtime/recorder/format.py": {"blackbox.json", "blackbox-"},
    "runtime/danet_runtime/recorder/reader.py": {"blackbox-"},
    "runtime/danet_runtime/cli/options/renamed.py": {"--black-box", "--ladder"},
}
"""Old spellings that are still read: options of before, and names on the disk."""


def files(*places: str) -> list[Path]:
    return sorted(
        file
        for place in places
        for file in (ROOT / place).rglob("*.py")
        if not any(part in ("build", ".venv") for part in file.relative_to(ROOT).parts)
    )


def documentation(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Docstrings, and the strings below names that say what these hold: line and text."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Names that are assigned, taken as arguments or defined: line and name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name


def help_texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The strings that a command shows as help: line and text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("help", "short_help", "epilog"):
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def found(
    places: tuple[str, ...],
    hint: str,
    read: Callable[[ast.AST], Iterator[tuple[int, str]]],
    is_wrong: Callable[[str], object],
) -> list[str]:
    """Where something is wrong; only files in which the pattern ``hint`` occurs are parsed."""
    texts = ((file, file.read_text(encoding="utf-8")) for file in files(*places))
    return [
        f"{file.relative_to(ROOT)}:{line}: {text.strip().splitlines()[0]}"
        for file, content in texts
        if re.search(hint, content)
        for line, text in read(parsed(content))
        if is_wrong(text)
    ]


def test_no_docstring_begins_with_what_or_of():
    assert found(PRODUCTION, r'"""\s*(What|Of)\b', documentation, BEGINS_OTHERWISE.match) == []


def test_no_line_of_an_argument_begins_with_of():
    assert found((*PRODUCTION, "tests"), r"\w: Of\b", documentation, ARGUMENT_OF.search) == []


def test_no_name_is_said_or_told():
    hint = r"\b(said|told)\b *([=,:)|+-]|in\b|:=)|def (said|told)\("
    assert found((*PRODUCTION, "tests"), hint, bound_names, {"said", "told"}.__contains__) == []


@pytest.mark.parametrize("read", [documentation, help_texts])
def test_a_measure_is_named_and_not_called_so_many_or_so_long(read):
    assert found(PRODUCTION, r"\bso\s+(many|long)\b", read, UNNAMED_MEASURE.search) == []


def test_terms_that_were_replaced_stand_only_where_old_spellings_are_read():
    left = []
    for file in files(*PRODUCTION):
        name, text = str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")
        for spelling in sorted(KEPT_SPELLINGS.get(name, ())):
            assert spelling in text, f"{name} holds {spelling} no more: leave it out above"
            text = text.replace(spelling, "")
        left += [f"{name}: {match[0]}" for match in OLD_TERMS.finditer(text)]
    assert left == []


def test_documents_hold_none_of_these_terms():
    documents = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    assert [file.name for file in documents if OLD_TERMS.search(file.read_text(encoding="utf-8"))] == []
