"""Storing and finding engines: whole or not at all, and never one that was not asked for."""

from __future__ import annotations

import errno
import os

import pytest

from danet_runtime.errors import BackendError
from danet_runtime.files.atomic import sha256_of
from danet_runtime.tensorrt.build.builder import BuilderOptions
from danet_runtime.tensorrt.store import store as engine_store
from danet_runtime.tensorrt.store.store import (
    default_engine_folder,
    find_engine,
    manifest_path,
    manifests_of,
    note_asked,
    read_engine,
    store_engine,
)


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def test_an_engine_is_a_raw_plan_with_a_manifest_beside_it(tmp_path, request_maker, built_maker):
    request = request_maker()
    engine = store_engine(tmp_path, request, built_maker(b"plan"))
    assert engine.path.read_bytes() == b"plan"
    assert engine.manifest.engine_sha256 == sha256_of(b"plan")
    assert names(tmp_path) == sorted([engine.path.name, manifest_path(tmp_path, request).name])
    for path in (engine.path, manifest_path(tmp_path, request)):
        assert read_engine(path).plan == b"plan"


def test_only_the_engine_of_the_very_request_is_found(tmp_path, request_maker, built_maker):
    store_engine(tmp_path, request_maker(), built_maker())
    assert find_engine(tmp_path, request_maker()).plan == b"a plan"
    for other in ({"precision": "int8"}, {"library_version": "10.4.0"}, {"parsed_sha256": "e" * 64}):
        assert find_engine(tmp_path, request_maker(**other)) is None


def test_a_manifest_copied_to_another_requests_name_is_not_taken_for_it(tmp_path, request_maker, built_maker):
    store_engine(tmp_path, request_maker(), built_maker())
    other = request_maker(options=BuilderOptions(optimization_level=1))
    manifest_path(tmp_path, request_maker()).rename(manifest_path(tmp_path, other))
    assert find_engine(tmp_path, other) is None


def test_a_new_plan_takes_the_old_ones_place_and_nothing_else_goes(tmp_path, request_maker, built_maker):
    neighbour = store_engine(tmp_path, request_maker(precision="int8"), built_maker(b"neighbour"))
    first = store_engine(tmp_path, request_maker(), built_maker(b"first"))
    second = store_engine(tmp_path, request_maker(), built_maker(b"second"))
    assert find_engine(tmp_path, request_maker()).plan == b"second"
    assert not first.path.exists()
    assert second.path.exists()
    assert neighbour.path.exists()
    assert len(names(tmp_path)) == 4


@pytest.mark.parametrize("cut", [b"", b"a pla", b"a plaN", b"a plan and more"])
def test_a_plan_that_is_not_what_was_built_is_no_engine(tmp_path, request_maker, built_maker, cut):
    engine = store_engine(tmp_path, request_maker(), built_maker())
    engine.path.write_bytes(cut)
    assert find_engine(tmp_path, request_maker()) is None
    with pytest.raises(BackendError, match=r"expected 6 bytes, got|not the engine that was built"):
        read_engine(engine.path)


def test_a_plan_without_a_manifest_is_no_engine(tmp_path, request_maker, built_maker):
    engine = store_engine(tmp_path, request_maker(), built_maker())
    manifest_path(tmp_path, request_maker()).unlink()
    with pytest.raises(BackendError, match="expected the engine's manifest"):
        read_engine(engine.path)
    (tmp_path / "mine.engine").write_bytes(b"x")
    with pytest.raises(BackendError, match="expected the engine's manifest"):
        read_engine(tmp_path / "mine.engine")


def test_a_manifest_without_its_plan_says_so(tmp_path, request_maker, built_maker):
    engine = store_engine(tmp_path, request_maker(), built_maker())
    engine.path.unlink()
    with pytest.raises(BackendError, match="which is gone"):
        read_engine(manifest_path(tmp_path, request_maker()))


@pytest.mark.parametrize("failing", ["plan", "manifest"])
def test_a_full_disk_leaves_the_engine_that_was_there(
    tmp_path, request_maker, built_maker, monkeypatch, failing
):
    store_engine(tmp_path, request_maker(), built_maker(b"first"))
    before = names(tmp_path)
    synced = []

    def fsync(handle):
        synced.append(handle)
        if len(synced) == {"plan": 1, "manifest": 3}[failing]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(engine_store.os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        store_engine(tmp_path, request_maker(), built_maker(b"second"))
    assert find_engine(tmp_path, request_maker()).plan == b"first"
    monkeypatch.undo()
    store_engine(tmp_path, request_maker(), built_maker(b"first"))
    assert names(tmp_path) == before


def test_a_bundles_engines_are_listed_in_order_without_strangers(tmp_path, request_maker, built_maker):
    store_engine(tmp_path, request_maker(), built_maker())
    level_0 = {"options": BuilderOptions(optimization_level=0)}
    latest = store_engine(tmp_path, request_maker(**level_0), built_maker(b"latest"))
    for attention in ("reference", "native"):
        store_engine(tmp_path, request_maker(attention=attention, kernel_variant=None), built_maker(b"other"))
    store_engine(tmp_path, request_maker(precision="int8"), built_maker())
    # Another bundle whose hash begins alike, and a damaged manifest.
    store_engine(tmp_path, request_maker(bundle_sha256="a" * 12 + "b" * 52), built_maker())
    (tmp_path / f"danet-{'a' * 12}-fp16-x.engine.json").write_text("{")
    found = manifests_of(tmp_path, "a" * 64, "fp16", "tensorrt")
    assert [manifest.attention for _, manifest in found] == ["plugin", "plugin", "native", "reference"]
    assert found[0][1] == latest.manifest
    note_asked(tmp_path, request_maker())
    assert manifests_of(tmp_path, "a" * 64, "fp16", "tensorrt")[1][1] == latest.manifest
    assert manifests_of(tmp_path / "nowhere", "a" * 64, "fp16", "tensorrt") == []


def test_engines_are_kept_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_engine_folder() == tmp_path / "danet" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_engine_folder() == tmp_path / ".cache" / "danet" / "engines"
