"""The messages of docs/troubleshooting.md are those that the code gives, word for word."""

from __future__ import annotations

import ast
import re

import pytest
from documentation import REPOSITORY

GAP = "..."
ROWS = [
    cells
    for line in (REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and len(cells := line.strip("| ").split(" | ")) >= 2
    if cells[0] not in ("message", "---")
]


def templates() -> set[str]:
    """Every text in the four packages; what is filled in is a gap."""
    found = set()

    def text(node: ast.AST) -> str | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.JoinedStr):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
        return None

    for package in ("runtime", "train", "export", "calibration"):
        for file in (REPOSITORY / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if (template := text(node)) is not None:
                    found.add(template)
    return found


@pytest.fixture(scope="module")
def given() -> set[str]:
    return {plain(template) for template in templates()}


def plain(message: str) -> str:
    """What two gaps in a row, or white space, cannot tell apart is one."""
    return re.sub(r"(?:\.\.\.\s*)+", GAP, " ".join(message.split()))


@pytest.mark.parametrize("message", [row[0] for row in ROWS])
def test_the_code_gives_this_message(message: str, given: set[str]) -> None:
    wanted = plain(message)
    begins = wanted.endswith(GAP) and len(wanted) > 30
    assert any(
        wanted == template or (begins and template.startswith(wanted[: -len(GAP)])) for template in given
    )


def test_each_says_what_to_do() -> None:
    assert len(ROWS) > 30
    for row in ROWS:
        assert len(row) == 3, row
        assert row[2].strip(), row


def test_a_message_that_nobody_gives_would_be_seen(given: set[str]) -> None:
    assert plain("the flux capacitor has ... gigawatts; give it more") not in given
