"""Files and folders appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from danet_runtime.errors import UsageError
from danet_runtime.files.atomic import (
    check_file_target,
    check_folder_target,
    replacing,
    replacing_folder,
    sha256_of,
    write_json,
)


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
    with pytest.raises(UsageError, match="exists already"), replacing_folder(target, "mark"):
        pass
    with pytest.raises(UsageError, match="no mark"), replacing_folder(target, "mark", overwrite=True):
        pass
    (target / "mark").touch()
    with pytest.raises(ZeroDivisionError), replacing_folder(target, "mark", overwrite=True) as partial:  # noqa: PT012
        (partial / "b").write_text("new")
        raise ZeroDivisionError
    assert sorted(path.name for path in target.iterdir()) == ["a", "mark"]
    with replacing_folder(target, "mark", overwrite=True) as partial:
        (partial / "b").write_text("new")
    assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_target_that_cannot_be_made_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for check in (check_file_target, lambda path: check_folder_target(path, "mark")):
        with pytest.raises(UsageError, match="cannot be made"):
            check(tmp_path / "file" / "sub" / "out")
    with pytest.raises(UsageError, match="is a folder"):
        check_file_target(tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        check_folder_target(tmp_path / "file", "mark", overwrite=True)
    check_folder_target(tmp_path / "new" / "out", "mark")


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    write_json(target, {"a": [1]})
    with pytest.raises(TypeError):
        write_json(target, {"a": object()})
    assert json.loads(target.read_text()) == {"a": [1]}


def test_a_hash_is_the_known_one() -> None:
    assert sha256_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
