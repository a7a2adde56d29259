"""Timings outlast a build, are one release's and one GPU's alone, and are merged, not overwritten."""

from __future__ import annotations

import pytest

from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.library import TensorRTLibrary
from danet_runtime.tensorrt.store.timing_cache import TimingCache


def library(trt, *version):
    return TensorRTLibrary(trt, "tensorrt", version)


def build(trt, cache, *entries):
    config = trt.IBuilderConfig()
    cache.attach(config)
    held = set(config.timing_cache.entries)
    config.timing_cache.entries |= set(entries)
    cache.keep(config)
    return held


def test_the_second_build_begins_with_what_the_first_measured(trt, tmp_path, gpu):
    assert build(trt, TimingCache(tmp_path, library(trt, 10, 3, 0), gpu), b"conv", b"gemm") == set()
    cache = TimingCache(tmp_path, library(trt, 10, 3, 0), gpu)
    assert build(trt, cache) == {b"conv", b"gemm"}
    assert cache.path.read_bytes() == b"timings\nconv\ngemm"  # as TensorRT gives it: trtexec reads it


def test_each_release_and_each_gpu_has_its_own(trt, tmp_path, gpu):
    smaller = gpu.model_copy(update={"multiprocessors": 8})
    caches = [
        TimingCache(tmp_path, library(trt, 10, 3, 0), gpu),
        TimingCache(tmp_path, library(trt, 10, 13, 3), gpu),
        TimingCache(tmp_path, library(trt, 10, 3, 0), smaller),
    ]
    assert len({cache.path for cache in caches}) == 3
    for cache in caches:
        assert build(trt, cache, b"conv") == set()


def test_a_name_with_slashes_stays_inside_the_folder(trt, tmp_path, gpu):
    named = gpu.model_copy(update={"name": "../../NVIDIA A/B (TM)"})
    path = TimingCache(tmp_path, library(trt, 10, 3, 0), named).path
    assert path.parent == tmp_path / "timings"
    assert path.name == "tensorrt_10.3.0-NVIDIA-A-B-TM-16sm.timing"


def test_builds_at_the_same_time_keep_each_others_timings(trt, tmp_path, gpu):
    first, second = (TimingCache(tmp_path, library(trt, 10, 3, 0), gpu) for _ in range(2))
    configs = [trt.IBuilderConfig(), trt.IBuilderConfig()]
    first.attach(configs[0])
    second.attach(configs[1])
    configs[0].timing_cache.entries.add(b"conv")
    configs[1].timing_cache.entries.add(b"gemm")
    first.keep(configs[0])
    second.keep(configs[1])
    assert build(trt, first) == {b"conv", b"gemm"}


@pytest.mark.parametrize("refusal", ["not read", "not taken"])
def test_timings_that_do_not_serve_are_measured_anew(trt, tmp_path, gpu, caplog, monkeypatch, refusal):
    cache = TimingCache(tmp_path, library(trt, 10, 3, 0), gpu)
    build(trt, cache, b"conv")
    if refusal == "not read":
        cache.path.write_bytes(b"garbage")
    else:
        taken = trt.IBuilderConfig.set_timing_cache

        def refuse(config, timings, ignore_mismatch):
            return not timings.entries and taken(config, timings, ignore_mismatch)

        monkeypatch.setattr(trt.IBuilderConfig, "set_timing_cache", refuse)
    assert build(trt, cache, b"gemm") == set()
    assert "measuring anew" in caplog.text
    assert b"gemm" in cache.path.read_bytes()


def test_a_full_disk_costs_the_timings_and_not_the_engine(trt, tmp_path, gpu, caplog, monkeypatch):
    def full(_handle):
        raise OSError("no space left")

    monkeypatch.setattr("danet_runtime.files.durability.os.fsync", full)
    cache = TimingCache(tmp_path, library(trt, 10, 3, 0), gpu)
    build(trt, cache, b"conv")
    assert "no space left; the next build measures anew" in caplog.text
    assert not cache.path.exists()


def test_a_library_that_takes_no_timings_at_all_is_told(trt, tmp_path, gpu, monkeypatch):
    monkeypatch.setattr(trt.IBuilderConfig, "set_timing_cache", lambda *_: False)
    with pytest.raises(BackendError, match=r"TensorRT 10\.3\.0 takes no timing cache"):
        TimingCache(tmp_path, library(trt, 10, 3, 0), gpu).attach(trt.IBuilderConfig())
