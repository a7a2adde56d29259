"""Loading and launching through the real cuda-python: what reaches the driver, and what is refused before."""

from __future__ import annotations

import pytest

BINDINGS = [
    pytest.param("cuda-bindings==12.9.4", "12.9.4", marks=pytest.mark.slow),
    pytest.param("cuda-bindings==13.0.3", "13.0.3", marks=pytest.mark.slow),
    pytest.param(None, None, id="installed"),
]
ATTENTION = ("PositionAttention", "tuned", 3, 11, 22, 33, 44, 55)


@pytest.fixture(autouse=True)
def installed():
    pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")


@pytest.mark.parametrize(("requirement", "version"), BINDINGS)
def test_a_kernel_is_loaded_once_and_launched_as_the_manifest_says(
    with_cuda, kernel_bundle, requirement, version
):
    answers, record = with_cuda(requirement, kernel_bundle().path, *ATTENTION)
    assert version in (None, answers["bindings"])
    assert "refused" not in answers
    assert (answers["cuda"], answers["arch"]) == ([12, 6], "sm_87")
    launch = "launch of=2005 grid=6,2,1 block=128,1,1 shared=98304 stream=77 extra=0 pointers=11,22,33,44,55,"
    assert record[1:] == [
        "function danet_positionattention of=1005",
        "attribute of=2005 8=98304",
        *[launch] * 3,
    ]
    assert record[0].startswith("load bytes=")


def test_shared_memory_up_to_48_kib_needs_no_permission(with_cuda, kernel_bundle):
    _, record = with_cuda(None, kernel_bundle().path, "ChannelEnergy", "small", 1, 11, 22)
    assert not any(line.startswith("attribute") for line in record)
    assert "shared=40960" in record[-1]


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"DRIVER_STUB_CAPABILITY": "110"}, "architecture sm_110, kernels/sm_87/"),
        ({"DRIVER_STUB_CUDA": "12010"}, "(CUDA 12.1) reads PTX up to 8.1"),
        ({"DRIVER_STUB_CONTEXT": "0"}, "expected a current CUDA context, the thread has none"),
        ({"DRIVER_STUB_INIT": "100"}, "cuInit failed with CUDA_ERROR_NO_DEVICE"),
    ],
    ids=["another GPU", "old driver", "no context", "no device"],
)
def test_what_cannot_run_is_refused_before_anything_is_loaded(
    with_cuda, kernel_bundle, environment, complaint
):
    answers, record = with_cuda(None, kernel_bundle().path, *ATTENTION, **environment)
    assert complaint in answers["refused"]
    assert record == []


def test_code_that_the_driver_rejects_is_told_with_its_error_and_log(with_cuda, kernel_bundle, ptx_writer):
    bundle = kernel_bundle(ptx=lambda *header: ptx_writer(*header) + "// refuse me\n")
    answers, record = with_cuda(None, bundle.path, *ATTENTION)
    assert "CUDA_ERROR_INVALID_PTX (ptxas fatal: refused)" in answers["refused"]
    assert not any(line.startswith("launch") for line in record)
