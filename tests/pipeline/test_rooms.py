"""The folders of the four packages and their imports, held to the drawing in docs/architecture.md."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("runtime", "train", "export", "calibration")
MOST_MODULES = 14  # in one folder
MOST_LINES = 400  # of one module


def modules_of(package: str) -> dict[str, Path]:
    """Dotted name within the package: file. Its own ``__init__`` and ``__main__`` belong to no room."""
    root = REPOSITORY / package / f"danet_{package}"
    found = {}
    for file in sorted(root.rglob("*.py")):
        name = ".".join(file.relative_to(root).with_suffix("").parts)
        if name not in ("__init__", "__main__"):
            found[name] = file
    return found


def room_of(module: str) -> str:
    """The folder, with slashes; a module that lies at the root of its package stands for itself."""
    return "/".join(module.split(".")[:-1]) or module


def arrows_of(package: str) -> dict[str, set[str]]:
    """Room: the rooms of the same package that its modules import, wherever in the module."""
    modules, prefix = modules_of(package), f"danet_{package}."

    def module_behind(name: str) -> str | None:
        inner = name.removeprefix(prefix)
        while inner:
            for candidate in (inner, f"{inner}.__init__"):
                if candidate in modules:
                    return candidate
            inner = inner.rpartition(".")[0]
        return None

    arrows: dict[str, set[str]] = defaultdict(set)
    for module, file in modules.items():
        room = room_of(module)
        arrows.setdefault(room, set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(prefix[:-1]):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                behind = module_behind(name) if name.startswith(prefix) else None
                if behind is not None and room_of(behind) != room:
                    arrows[room].add(room_of(behind))
    return arrows


def drawn_arrows(package: str) -> dict[str, set[str]]:
    """What docs/architecture.md draws; what all may import stands in the first line."""
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = re.search(rf"```text\n{package}/danet_{package}: all may import(.*?)\n(.*?)```", text, re.DOTALL)
    assert block is not None, f"docs/architecture.md has no drawing of {package}"
    everywhere = set(block[1].split())
    lines = re.sub(r"\n {8,}", " ", block[2]).splitlines()  # a room's line may be wrapped
    arrows = {name: set(everywhere) for name in everywhere}
    for line in lines:
        room, _, targets = line.partition("->")
        arrows[room.strip()] = set(targets.split()) | everywhere
    return arrows


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_and_their_arrows_are_those_drawn(package: str) -> None:
    arrows, drawn = arrows_of(package), drawn_arrows(package)
    assert set(arrows) == set(drawn)
    for room, targets in arrows.items():
        assert targets <= drawn[room], f"{room} imports {targets - drawn[room]}, which is not drawn"
    everywhere = set.intersection(*drawn.values())
    drawn_alone = {(room, to) for room in drawn for to in drawn[room] - everywhere}
    assert drawn_alone == {(room, to) for room, tos in arrows.items() for to in tos - everywhere}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle_runs_between_rooms(package: str) -> None:
    TopologicalSorter(arrows_of(package)).prepare()  # CycleError names one


@pytest.mark.parametrize("package", PACKAGES)
def test_a_room_holds_about_a_dozen_modules_and_a_module_one_job(package: str) -> None:
    rooms: dict[str, int] = defaultdict(int)
    for module, file in modules_of(package).items():
        rooms[room_of(module)] += file.name != "__init__.py"
        assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES, file
    assert {room: count for room, count in rooms.items() if count > MOST_MODULES} == {}


def test_the_check_sees_arrows_also_inside_functions_and_between_packages_of_one_name() -> None:
    assert "inference" in arrows_of("runtime")["cli/options"]  # imported inside a function
    assert {"sources/protocol", "sources/live"} <= arrows_of("runtime")["sources"]
