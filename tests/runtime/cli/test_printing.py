"""What the commands print fits 80 columns, and nothing of it is cut."""

from __future__ import annotations

import pytest
from rich.table import Table

from danet_runtime.cli.console.printing import open_console
from danet_train.classes import CITYSCAPES, numbered_classes
from danet_train.cli.tables import config_table, score_table
from danet_train.evaluation.metrics import ConfusionMatrix

LONG = "catenary-mast-with-bracket-and-porcelain-insulators-" * 3


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_a_word_longer_than_its_column_goes_on_in_the_next_line(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("class", "IoU", "share", "frames")
    table.add_row(LONG, "99.99", "100.00", "1234567")
    open_console().print(table)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed
    first_column = "".join(line.split("│")[1].strip() for line in printed.splitlines() if "│" in line)
    assert LONG in first_column


@pytest.mark.parametrize("number", [19, 150])
def test_scores_of_many_classes_fit(capsys: pytest.CaptureFixture[str], number: int) -> None:
    classes = CITYSCAPES if number == len(CITYSCAPES.names) else numbered_classes(number)
    matrix = ConfusionMatrix(number)
    matrix.counts[:] = 123_456_789
    open_console().print(score_table(matrix, classes))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert all(any(name in line for line in lines) for name in classes.names)


def test_the_packaged_configurations_fit(capsys: pytest.CaptureFixture[str]) -> None:
    open_console().print(config_table())
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed
