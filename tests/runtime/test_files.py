"""Files and folders appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from danet_runtime.errors import UsageError
from danet_runtime.files import replacing, replacing_folder, sha256_of, write_json


def test_a_file_appears_at_the_end_with_its_suffix_kept(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out.mp4"
    with replacing(target) as partial:
        assert partial.suffix == ".mp4"
        assert partial.parent == target.parent
        partial.write_text("x")
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["out.mp4"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as partial:  # noqa: PT012
        partial.write_text("new")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "a").write_text("old")
    with pytest.raises(UsageError, match="exists already"), replacing_folder(target):
        pass
    with pytest.raises(ZeroDivisionError), replacing_folder(target, overwrite=True) as partial:  # noqa: PT012
        (partial / "b").write_text("new")
        raise ZeroDivisionError
    assert [path.name for path in target.iterdir()] == ["a"]
    with replacing_folder(target, overwrite=True) as partial:
        (partial / "b").write_text("new")
    assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    write_json(target, {"a": [1]})
    with pytest.raises(TypeError):
        write_json(target, {"a": object()})
    assert json.loads(target.read_text()) == {"a": [1]}


def test_a_hash_is_the_known_one() -> None:
    assert sha256_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
