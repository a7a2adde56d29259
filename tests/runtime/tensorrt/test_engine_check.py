"""What does not run here is told before it is deserialised, with the command that mends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.builder import BuilderOptions
from danet_runtime.tensorrt.cuda.device import Gpu
from danet_runtime.tensorrt.store.check import Wanted, choose_engine, load_engine, mismatches
from danet_runtime.tensorrt.store.store import store_engine


@pytest.fixture
def wanted(tmp_path):
    return Wanted(Path("my bundle"), "a" * 64, "fp16", "tensorrt", tmp_path)


@pytest.fixture
def store(tmp_path, request_maker, built_maker, device):
    return lambda **changes: store_engine(tmp_path, request_maker(**changes), built_maker(), device=device)


def test_an_engine_of_this_machine_runs_also_under_a_newer_driver(store, wanted, tensorrt_10_3, device):
    engine = store()
    assert mismatches(engine.manifest, tensorrt_10_3, device) == []
    newer = device.model_copy(update={"cuda_driver": "13.0", "driver": "580.1"})
    assert load_engine(engine.path, wanted, tensorrt_10_3, newer).plan == b"a plan"
    assert choose_engine(wanted, tensorrt_10_3, device).plan == b"a plan"


OTHER_MACHINES = {
    "GPU of another architecture": (
        {"gpu": Gpu(name="Thor", arch="sm_110", multiprocessors=20)},
        "it is for sm_87, this GPU is Thor",
    ),
    "GPU with fewer multiprocessors": (
        {"gpu": Gpu(name="Orin", arch="sm_87", multiprocessors=8)},
        r"it is tuned for Orin \(sm_87, 16 multiprocessors\), this GPU is Orin \(sm_87, 8 multiprocessors\) "
        r"\(a Jetson's power mode, `nvpmodel`, .* build one engine in each mode",
    ),
    "platform": ({"platform": "linux-x86_64"}, "it is for linux-aarch64, this is linux-x86_64"),
    "older driver": (
        {"cuda_driver": "12.2"},
        "CUDA 12.6, this one is of CUDA 12.2, which is older",
    ),
    "older driver by ten": ({"cuda_driver": "9.10"}, "which is older"),
}


@pytest.mark.parametrize("what", OTHER_MACHINES)
def test_another_machine_is_told_with_the_command_for_it(store, wanted, tensorrt_10_3, device, what):
    changes, complaint = OTHER_MACHINES[what]
    engine = store()
    there = device.model_copy(update=changes)
    with pytest.raises(BackendError, match=complaint) as refused:
        load_engine(engine.path, wanted, tensorrt_10_3, there)
    assert "`danet build 'my bundle' --backend tensorrt:fp16" in str(refused.value)
    with pytest.raises(BackendError, match=complaint):
        choose_engine(wanted, tensorrt_10_3, there)


def test_an_engine_for_each_power_mode_is_kept_beside_the_others(store, wanted, tensorrt_10_3, device):
    modes = {}
    for number in (16, 8):
        gpu = Gpu(name="Orin", arch="sm_87", multiprocessors=number)
        modes[number] = store(gpu=gpu).manifest
    for number, manifest in modes.items():
        gpu = Gpu(name="Orin", arch="sm_87", multiprocessors=number)
        there = device.model_copy(update={"gpu": gpu})
        assert choose_engine(wanted, tensorrt_10_3, there).manifest == manifest


def test_another_release_or_bundle_or_precision_is_told(store, wanted, tensorrt_10_3, device):
    engine = store(library_version="10.4.0", bundle_sha256="f" * 64, precision="int8")
    with pytest.raises(BackendError) as refused:
        load_engine(engine.path, wanted, tensorrt_10_3, device)
    for words in (
        "it is int8, not fp16",
        "from another bundle than my bundle",
        "built with tensorrt 10.4.0, this is 10.3.0",
    ):
        assert words in str(refused.value)


def test_the_command_repeats_how_the_engine_was_built(store, wanted, tensorrt_10_3, device):
    options = BuilderOptions(workspace_mib=64, optimization_level=0)
    manifest = store(kernel_variant="small", options=options).manifest
    command = wanted.build_command(device, manifest)
    assert command.endswith("--attention plugin --kernels small --workspace-mib 64 --optimization-level 0")
    thor = device.model_copy(update={"gpu": Gpu(name="Thor", arch="sm_110", multiprocessors=20)})
    assert "plugin" not in wanted.build_command(thor, manifest)  # the bundle may have no such kernels
    rtx = Wanted(Path("b"), "a" * 64, "int8", "tensorrt-rtx", Path("/e"), default_folder=False)
    assert rtx.build_command(device) == (
        "danet build b --backend tensorrt-rtx:int8 --target sm_87 --engine-dir /e"
    )


def test_the_latest_engine_that_runs_is_chosen_and_none_is_told(store, wanted, tensorrt_10_3, device):
    with pytest.raises(BackendError, match=r"no tensorrt engine of my bundle in fp16; build one: `danet"):
        choose_engine(wanted, tensorrt_10_3, device)
    store()
    latest = store(kernel_variant="small")
    store(library_version="11.4.0")
    store(attention="reference", kernel_variant=None)  # built last, for comparison
    assert choose_engine(wanted, tensorrt_10_3, device).manifest == latest.manifest


def test_a_damaged_engine_is_passed_over_with_a_warning_and_alone_is_told(
    store, wanted, tensorrt_10_3, device, caplog
):
    whole = store(attention="reference", kernel_variant=None)
    options = BuilderOptions(workspace_mib=64)
    damaged = store(attention="native", kernel_variant=None, options=options)
    damaged.path.write_bytes(b"a plaN")
    assert choose_engine(wanted, tensorrt_10_3, device).manifest == whole.manifest
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert str(damaged.path) in record.getMessage()
    whole.path.write_bytes(b"")
    with pytest.raises(BackendError, match="not the engine that was built") as refused:
        choose_engine(wanted, tensorrt_10_3, device)
    assert "--attention native --workspace-mib 64" in str(refused.value)


def test_a_damaged_engine_for_several_targets_is_built_again_for_all(wanted, store, device):
    manifest = store(
        targets=("sm_87", "sm_89"), library="tensorrt-rtx", gpu=None, attention="native"
    ).manifest
    rtx = Wanted(Path("b"), "a" * 64, "fp16", "tensorrt-rtx", wanted.folder)
    assert "--target sm_87 --target sm_89" in rtx.build_command(device, manifest)
