"""Engines are code: what others can write, own or link to is refused before it is read."""

from __future__ import annotations

import json
import os

import pytest

from danet_runtime.errors import BackendError
from danet_runtime.files.atomic import sha256_of
from danet_runtime.tensorrt.engine_obtain import obtain_engine
from danet_runtime.tensorrt.store import folder as engine_folder
from danet_runtime.tensorrt.store.check import Wanted, choose_engine
from danet_runtime.tensorrt.store.folder import make_own_folder, read_own_file, require_own_folder
from danet_runtime.tensorrt.store.store import find_engine, manifest_path, read_engine, store_engine

GARBAGE = b"not what was built"


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "engines"
    make_own_folder(place)
    return place


@pytest.fixture
def engine(folder, request_maker, built_maker):
    return store_engine(folder, request_maker(), built_maker())


def with_manifest_for(plan: bytes, folder, request):
    """The manifest as somebody would correct it who exchanged the plan."""
    file = manifest_path(folder, request)
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "engine_sha256": sha256_of(plan), "engine_bytes": len(plan)}))


def test_a_plan_that_is_a_link_is_not_reused_though_its_manifest_was_corrected(
    folder, engine, tmp_path, request_maker, built_maker, tensorrt_10_3, caplog
):
    (tmp_path / "garbage").write_bytes(GARBAGE)
    engine.path.unlink()
    engine.path.symlink_to(tmp_path / "garbage")
    with_manifest_for(GARBAGE, folder, request_maker())
    with pytest.raises(BackendError, match=r"is a symbolic link; expected a plain file.*build again"):
        read_engine(engine.path)
    again = obtain_engine(folder, request_maker(), tensorrt_10_3, built_maker)
    assert (again.reused, again.engine.plan) == (False, b"a plan")
    assert caplog.text.count("is a symbolic link") == 1
    assert (tmp_path / "garbage").read_bytes() == GARBAGE


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_folder_that_others_can_write_gives_and_takes_no_engine(
    folder, engine, request_maker, built_maker, tensorrt_10_3, device, mode
):
    folder.chmod(mode)
    wanted = Wanted(folder / "bundle", "a" * 64, "fp16", "tensorrt", folder)
    complaint = rf"can be written by others \(mode {mode:04o}\).*`chmod go-w {folder}`, or give another"
    for attempt in (
        lambda: read_engine(engine.path),
        lambda: obtain_engine(folder, request_maker(), tensorrt_10_3, built_maker, rebuild=True),
        lambda: choose_engine(wanted, tensorrt_10_3, device),
    ):
        with pytest.raises(BackendError, match=complaint):
            attempt()


def test_a_file_that_others_can_write_is_no_engine(folder, engine, request_maker):
    for file in (engine.path, manifest_path(folder, request_maker())):
        file.chmod(0o666)
        with pytest.raises(BackendError, match=rf"{file.name} can be written by others \(mode 0666\)"):
            read_engine(engine.path)
        assert find_engine(folder, request_maker()) is None
        file.chmod(0o644)
    assert find_engine(folder, request_maker()).plan == b"a plan"


def test_what_belongs_to_another_user_is_refused(folder, engine, monkeypatch):
    monkeypatch.setattr(engine_folder, "_ROOT", -1)
    monkeypatch.setattr(engine_folder.os, "geteuid", lambda: os.getuid() + 1)
    for attempt in (lambda: require_own_folder(folder), lambda: read_own_file(engine.path)):
        with pytest.raises(BackendError, match=rf"belongs to user {os.getuid()}.*`chown {os.getuid() + 1} "):
            attempt()


def test_a_folder_around_it_that_everybody_can_write_is_refused_unless_it_is_sticky(tmp_path, folder):
    tmp_path.chmod(0o1777)
    require_own_folder(folder)
    tmp_path.chmod(0o777)
    with pytest.raises(BackendError, match=r"which holds the engine folder .*`chmod o-w "):
        require_own_folder(folder)


def test_whatever_the_umask_a_build_makes_what_only_its_user_can_write(
    tmp_path, request_maker, built_maker, tensorrt_10_3
):
    before = os.umask(0)
    try:
        got = obtain_engine(tmp_path / "engines", request_maker(), tensorrt_10_3, built_maker)
    finally:
        os.umask(before)
    assert read_engine(got.engine.path).plan == b"a plan"
    for path in (tmp_path / "engines").rglob("*"):
        assert not path.stat().st_mode & 0o022, path


def test_a_link_to_the_folder_is_followed_to_one_that_must_be_ones_own(tmp_path, folder, engine):
    link = tmp_path / "cache"
    link.symlink_to(folder)
    assert read_engine(link / engine.path.name).plan == b"a plan"
    folder.chmod(0o777)
    with pytest.raises(BackendError, match="can be written by others"):
        read_engine(link / engine.path.name)


def test_what_is_no_file_is_not_opened_for_long(folder, engine):
    engine.path.unlink()
    os.mkfifo(engine.path)
    with pytest.raises(BackendError, match="is no plain file"):
        read_engine(engine.path)
