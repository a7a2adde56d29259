"""The folders of the four packages and their imports, held to the drawing in docs/architecture.md.

The sizes of modules, and that no imports run in a circle, hold in the benchmarks too.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from parsed_sources import nodes_of_source, parsed

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("runtime", "train", "export", "calibration")
NO_MODULE_OF_A_ROOM = ("__init__.py", "__main__.py")
MOST_MODULES = 14  # in one folder
MOST_LINES = 400  # of one module, in the tests too
LEAST_LINES = 30  # a shorter one lives in a module beside it, but for these
SHORT = {
    "benchmarks/networks.py": "needs torch; what lies beside it is imported where that is not",
    "benchmarks/places.py": "every room of the benchmarks reads it; beside it are other subjects",
    "calibration/danet_calibration/int8/ranges/methods.py": "the command line reads it, without torch",
    "export/danet_export/errors.py": "each package has its tree of errors in a module of its own",
}


def modules_of(package: str) -> dict[str, Path]:
    """Dotted name within the package: file. Its own ``__init__`` and ``__main__`` belong to no room."""
    root = REPOSITORY / package / f"danet_{package}"
    found = {}
    for file in sorted(root.rglob("*.py")):
        name = ".".join(file.relative_to(root).with_suffix("").parts)
        if name not in ("__init__", "__main__"):
            found[name] = file
    return found


def production_files() -> list[Path]:
    """Every module of the packages and of the benchmarks."""
    roots = [REPOSITORY / package / f"danet_{package}" for package in PACKAGES] + [REPOSITORY / "benchmarks"]
    return sorted(file for root in roots for file in root.rglob("*.py"))


def lines_of(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def loaded_names(node: ast.AST) -> Iterator[str]:
    """Whatever is imported, wherever it stands, but for a type checker alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            yield from loaded_names(ast.Module(child.orelse, type_ignores=[]))
            continue
        if isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        yield from loaded_names(child)


def imports_between_modules(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Module: those of the others that it imports. A name that is no module is one inside of a module."""
    found = {}
    for module, source in sources.items():
        names = set()
        for name in loaded_names(parsed(source)):
            while name and name not in sources:
                name = name.rpartition(".")[0]
            names.add(name)
        found[module] = names - {"", module}
    return found


def room_of(module: str) -> str:
    """The folder, with slashes; a module that lies at the root of its package stands for itself."""
    return "/".join(module.split(".")[:-1]) or module


@cache
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
        for node in nodes_of_source(file.read_text(encoding="utf-8")):
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


def test_a_room_holds_about_a_dozen_modules() -> None:
    rooms = Counter(file.parent for file in production_files() if file.name not in NO_MODULE_OF_A_ROOM)
    assert {room: count for room, count in rooms.items() if count > MOST_MODULES} == {}


def test_a_module_has_one_job() -> None:
    files = [*production_files(), *(REPOSITORY / "tests").rglob("*.py")]
    assert [str(file) for file in files if lines_of(file) > MOST_LINES] == []


def test_a_module_that_could_live_in_its_neighbour_does() -> None:
    short = {
        file.relative_to(REPOSITORY).as_posix()
        for file in production_files()
        if lines_of(file) < LEAST_LINES and file.name not in NO_MODULE_OF_A_ROOM
    }
    assert short == set(SHORT), "put it into a module beside it, or say in SHORT why it cannot live there"


def test_no_circle_runs_between_modules() -> None:
    sources = {}
    for file in production_files():
        parts = file.relative_to(REPOSITORY).with_suffix("").parts
        name = ".".join(parts if parts[0] == "benchmarks" else parts[1:]).removesuffix(".__init__")
        sources[name] = file.read_text(encoding="utf-8")
    TopologicalSorter(imports_between_modules(sources)).prepare()  # CycleError names one


def test_a_circle_between_modules_is_seen_and_one_for_a_type_checker_is_none() -> None:
    one = "from package.two import name"
    circle = {"package.one": one, "package.two": "def call():\n    import package.one"}
    with pytest.raises(CycleError):
        TopologicalSorter(imports_between_modules(circle)).prepare()
    typed = {"package.one": one, "package.two": "if TYPE_CHECKING:\n    import package.one"}
    assert imports_between_modules(typed) == {"package.one": {"package.two"}, "package.two": set()}


def test_the_check_sees_arrows_also_inside_functions_and_between_packages_of_one_name() -> None:
    assert "inference" in arrows_of("runtime")["cli/options"]  # imported inside a function
    assert {"sources/protocol", "sources/live"} <= arrows_of("runtime")["sources"]
