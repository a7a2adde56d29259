"""The order in which things reach the disk: content, then name, then the folders around."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import danet_runtime.files.atomic
import danet_train.files.atomic
from danet_runtime.files.durability import exchange, make_folder, sync_tree


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is flushed and renamed, as it happens; each call goes through."""
    seen: list[str] = []

    def name(descriptor: int) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    def recorded(what: str) -> Callable[..., None]:
        real = getattr(os, what)

        def call(*arguments: object) -> None:
            first = arguments[0]
            seen.append(
                f"flush {name(first)}" if isinstance(first, int) else f"name {Path(str(arguments[1])).name}"
            )
            real(*arguments)

        return call

    for what in ("fsync", "fdatasync", "rename", "replace"):
        monkeypatch.setattr(os, what, recorded(what))
    return seen


@pytest.mark.parametrize("module", [danet_runtime.files.atomic, danet_train.files.atomic])
def test_a_file_is_flushed_before_it_is_named_and_its_name_after(
    tmp_path: Path, order: list[str], module: object
) -> None:
    with module.replacing(tmp_path / "a" / "b" / "out.bin") as partial:  # type: ignore[attr-defined]
        partial.write_bytes(b"x")
    folders, rest = order[:2], order[2:]
    assert sorted(folders) == sorted(["flush a", f"flush {tmp_path.name}"])
    assert rest[0].startswith("flush .out.")
    assert rest[1:] == ["name out.bin", "flush b"]


def test_where_nothing_was_made_no_folder_is_flushed(tmp_path: Path, order: list[str]) -> None:
    make_folder(tmp_path)
    assert order == []


def test_a_tree_is_flushed_file_by_file_where_the_system_has_no_call_for_it(
    tmp_path: Path, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: object())
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_text("x")
    sync_tree(tmp_path)
    assert order == ["flush file", "flush inner", f"flush {tmp_path.name}"]
    assert not exchange(tmp_path / "inner", tmp_path)


def test_two_names_are_exchanged_in_one_step(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).write_text(name)
    assert exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one").read_text() == "other"
    assert (tmp_path / "other").read_text() == "one"
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "one", tmp_path / "missing")
