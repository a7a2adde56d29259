"""What TensorRT for RTX compiled is kept beside the engine: whole or not at all, and looked at before."""

from __future__ import annotations

import logging
import os
from types import ModuleType

import pytest

from danet_runtime.tensorrt.build.library import TensorRTLibrary
from danet_runtime.tensorrt.store.runtime_cache import RuntimeCache
from danet_runtime.tensorrt.store.store import remove_leftovers, store_engine

LIBRARY = TensorRTLibrary(ModuleType("tensorrt_rtx"), "tensorrt-rtx", (1, 7, 1))


class Cache:
    """As IRuntimeCache: what is no cache of this library it refuses, and stays as it was."""

    def __init__(self):
        self.kernels = []

    def deserialize(self, blob):
        if not bytes(blob).startswith(b"cache "):
            return False
        self.kernels = bytes(blob).decode().split()[1:]
        return True

    def serialize(self):
        return memoryview(" ".join(["cache", *self.kernels]).encode())


class Config:
    def __init__(self):
        self.strategy = self.cache = None

    def set_execution_context_allocation_strategy(self, strategy):
        self.strategy = strategy

    def create_runtime_cache(self):
        return Cache()

    def set_runtime_cache(self, cache):
        self.cache = cache
        return True


class Engine:
    """Compiles a kernel where its context's cache does not hold it."""

    def __init__(self, *kernels):
        self.kernels, self.compiled = kernels, []

    def create_runtime_config(self):
        return Config()

    def create_execution_context(self, config):
        for kernel in self.kernels:
            if kernel not in config.cache.kernels:
                self.compiled.append(kernel)
                config.cache.kernels.append(kernel)
        return config


@pytest.fixture
def path(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path / "danet-name-0123.engine"


def start(path, *kernels):
    """Open an engine with two contexts, as a process does; return what it had to compile."""
    engine, cache = Engine(*kernels), RuntimeCache(path, LIBRARY)
    contexts = [cache.make_context(engine, "memory of the user") for _ in range(2)]
    assert [context.strategy for context in contexts] == ["memory of the user"] * 2
    assert contexts[0].cache is contexts[1].cache  # one for all
    cache.keep()
    return engine.compiled


def test_a_second_start_compiles_nothing_and_writes_nothing(path):
    assert start(path, "conv", "attention") == ["conv", "attention"]
    kept = path.with_name("danet-name-0123.rtx-cache")
    assert kept.read_bytes() == b"cache conv attention"
    os.utime(kept, ns=(1, 1))
    assert start(path, "conv", "attention") == []
    assert kept.stat().st_mtime_ns == 1
    assert start(path, "conv", "resize") == ["resize"]
    assert start(path, "resize", "attention") == []


@pytest.mark.parametrize(
    "content", [b"garbage", b"cach", bytes(range(156, 256))], ids=["text", "cut off", "bytes"]
)
def test_one_that_cannot_be_read_is_left_out_with_a_warning_and_replaced(path, content, caplog):
    kept = path.with_suffix(".rtx-cache")
    kept.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert start(path, "conv") == ["conv"]
    (message,) = [record.getMessage() for record in caplog.records]
    assert "does not take the compiled kernels" in message
    assert str(kept) in message
    assert kept.read_bytes() == b"cache conv"


def test_one_that_others_can_write_or_that_is_a_link_is_not_read(path, tmp_path, caplog):
    kept = path.with_suffix(".rtx-cache")
    kept.write_bytes(b"cache conv")
    kept.chmod(0o666)
    with caplog.at_level(logging.WARNING):
        assert start(path, "conv") == ["conv"]
    assert "can be written by others" in caplog.records[0].getMessage()
    assert kept.stat().st_mode & 0o022 == 0  # replaced by one of this user alone
    kept.rename(tmp_path / "elsewhere")
    kept.symlink_to(tmp_path / "elsewhere")
    assert start(path, "conv") == ["conv"]


def test_a_disk_that_is_full_costs_the_next_start_and_not_this_one(path, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("danet_runtime.files.durability.os.fsync", full)
    with caplog.at_level(logging.WARNING):
        assert start(path, "conv") == ["conv"]
    assert "the next start compiles anew" in caplog.records[-1].getMessage()
    assert not path.with_suffix(".rtx-cache").exists()


def test_it_goes_with_the_engine_that_it_is_of(tmp_path, request_maker, built_maker):
    request = request_maker(library="tensorrt-rtx", gpu=None, attention="native", kernel_variant=None)
    first = store_engine(tmp_path, request, built_maker(b"one"))
    start(first.path, "conv")
    remove_leftovers(tmp_path, request)
    assert first.path.with_suffix(".rtx-cache").is_file()
    second = store_engine(tmp_path, request, built_maker(b"two"))
    assert [file.suffix for file in tmp_path.iterdir() if file.name.startswith(first.path.stem)] == []
    assert second.path.is_file()
