"""What there is one of: no second place opens a session, names an array or draws an overlay."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from parsed_sources import nodes_of_source

import danet_calibration
import danet_export
import danet_runtime
import danet_runtime.sinks

PACKAGES = (danet_runtime, danet_export, danet_calibration)


def nodes_of(*packages: object) -> Iterator[tuple[str, ast.AST]]:
    """Every node of every module, with the module's file."""
    for package in packages:
        for file in sorted(Path(package.__file__).parent.rglob("*.py")):
            for node in nodes_in(file):
                yield file.name, node


@cache
def nodes_in(file: Path) -> list[ast.AST]:
    return list(nodes_of_source(file.read_text(encoding="utf-8")))


def test_one_module_opens_sessions_of_onnx_runtime():
    places = {
        file
        for file, node in nodes_of(*PACKAGES)
        if isinstance(node, ast.Attribute) and node.attr == "InferenceSession"
    }
    assert places == {"onnxruntime_session.py"}


def test_one_module_says_what_an_array_of_bytes_is():
    places = [
        file
        for file, node in nodes_of(*PACKAGES)
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "UInt8Array" for target in node.targets)
    ]
    assert places == ["arrays.py"]


def test_one_module_draws_the_overlays_of_sinks():
    places = {
        file
        for file, node in nodes_of(danet_runtime.sinks)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Overlay"
    }
    assert places == {"overlay.py"}
