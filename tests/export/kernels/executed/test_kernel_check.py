"""The check of kernels on a GPU, over the machine that executes PTX: planted faults do not pass it."""

from __future__ import annotations

import re
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")

from executing_device import ExecutingDevice
from ptx_cases import attention, compiled, energy, labels, manifest_entry

from danet_export.kernels.architectures import ARCHITECTURES
from danet_export.ops.catalogue import code_of
from danet_runtime.bundle.operators import OPERATORS
from danet_runtime.errors import BackendError, FaultError
from danet_runtime.tensorrt.cuda.driver import CudaDriver
from danet_runtime.tensorrt.cuda.session import CudaSession
from danet_runtime.tensorrt.kernel_check import check_kernels, require_right
from danet_runtime.tensorrt.kernels.kernels import LoadedKernel
from danet_runtime.tensorrt.kernels.truth import Trial, decoded, encoded

ATTENTION = attention(200, 16, 64, "sm_87")
ENERGY = energy(64, 1040, 2, "sm_87")
LABELS = labels((1, 5, 9, 13), (65, 97), "sm_87")
PADDED = attention(199, 16, 64, "sm_87", pitch=256)
CASES = [
    pytest.param(ATTENTION, marks=pytest.mark.slow),
    pytest.param(PADDED, marks=pytest.mark.slow),
    ENERGY,
    LABELS,
    labels((1, 5, 9, 13), (65, 97), "sm_87", align_corners=True),
]


def loaded(case, change=None):
    spec, kernel = compiled(case)
    entry, text = manifest_entry(spec, kernel, case), kernel.ptx
    if change is not None:
        entry, text = change(entry, text)
    return LoadedKernel(entry, text.encode("ascii"))


def check(case, change=None):
    """The verdict, and what is left on the device."""
    cuda = ExecutingDevice(case.arch, ARCHITECTURES[case.arch].shared_memory_limit)
    session = CudaSession(CudaDriver(cast("Any", cuda)))
    (verdict,) = check_kernels([loaded(case, change)], session)
    assert cuda.held == set()
    return verdict


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_right_kernel_passes_and_leaves_nothing(case):
    verdict = check(case)
    assert verdict.unwritten == 0
    assert verdict.error <= verdict.tolerance / 2
    require_right([verdict])


def replaced(pattern, by):
    def change(entry, text):
        assert re.search(pattern, text)
        return entry, re.sub(pattern, by, text, count=1)

    return change


def launched_with(**fields):
    return lambda entry, text: (entry.model_copy(update=fields), text)


FAULTS = {
    "a transposition left out": (ATTENTION, replaced(r"x4\.trans\.shared", "x4.shared")),
    "a block left out": (ATTENTION, launched_with(grid=(1, 1, 1))),
    "a slice left out": (ENERGY, lambda entry, text: (_fewer_blocks(entry), text)),
    "a row of blocks left out": (LABELS, lambda entry, text: (_fewer_blocks(entry), text)),
}


def _fewer_blocks(entry):
    x, y, z = entry.grid
    return entry.model_copy(
        update={"grid": (x - 1, y, z) if x > 1 else (x, y - 1, z) if y > 1 else (x, y, z - 1)}
    )


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (case is ATTENTION))
        for name, (case, _) in FAULTS.items()
    ],
)
def test_a_planted_fault_is_an_error_that_names_the_kernel(fault):
    case, change = FAULTS[fault]
    verdict = check(case, change)
    assert not verdict.is_right
    with pytest.raises(BackendError, match=r"kernel\.ptx \(.*, tuned\) computes wrongly on this GPU: error "):
        require_right([verdict])


@pytest.mark.slow
def test_a_kernel_that_writes_where_it_may_not_is_a_fault_of_the_gpu():
    beyond = replaced(r"(st\.global\.v4\.b32 \[ %rd\d+ \+ )0", r"\g<1>65536")
    with pytest.raises(FaultError, match="ILLEGAL_ADDRESS"):
        check(ATTENTION, beyond)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_truth_of_some_places_is_that_of_the_whole_result(case):
    spec, kernel = compiled(case)
    trial = Trial(manifest_entry(spec, kernel, case), seed=3)
    names = OPERATORS[case.operator].inputs
    values = {name: decoded(trial.inputs[name], "fp16") for name in names}
    whole = code_of(case.operator).reference(values, dict(case.attributes)).reshape(trial.output_shape)
    right = whole.astype(trial.output_type)
    assert trial.error(right) <= 4e-4
    assert trial.error(np.roll(right, 1, axis=-1)) > 1e-2
    assert trial.unwritten(right) == 0


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_bits_hold_the_values_that_they_are_read_as(dtype):
    values = np.float32([0, 1, -1.5, 2**-10, 0.25])
    np.testing.assert_array_equal(decoded(encoded(values, dtype), dtype), values)
