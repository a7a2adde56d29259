"""Assemblers of other releases beside Triton's: what counts as a difference, and what was recorded."""

import importlib
import json
import zipfile

import pytest

from danet_export.kernels.ptx import Resources

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")
assemblers = importlib.import_module("benchmarks.engines.assemblers")
code = importlib.import_module("benchmarks.engines.machine_code")

SAME = {**dict.fromkeys(assemblers.COUNTED, 4), "registers": 128, "spill_bytes": 0}


def test_a_lost_store_and_new_spills_are_differences_and_other_registers_are_none():
    assert assemblers.differences("12.6", SAME, {**SAME, "registers": 130}) == []
    found = assemblers.differences("12.6", SAME, {**SAME, "STS": 3, "spill_bytes": 8})
    assert found == ["ptxas 12.6 has 3 STS, Triton's 4", "ptxas 12.6 spills 8 bytes"]
    spilling = {**SAME, "spill_bytes": 16}
    assert assemblers.differences("12.6", spilling, {**SAME, "spill_bytes": 24}) == []


def test_what_never_runs_is_not_counted():
    parsed = code.parse("        /*0010*/ @!PT LDS RZ, [RZ] ;\n        /*0020*/ LDS R1, [R2] ;\n")
    found = assemblers.figures(code.Assembled(Resources(40, 0), parsed))
    assert (found["LDS"], found["registers"]) == (1, 40)


def test_the_allocation_of_tensor_memory_is_not_counted_where_there_is_one():
    lines = [
        "STS [UR4], R0",
        "STS.U8 [UR5+0x1c], R2",
        "LDS R10, [UR7]",
        "STS.128 [R4+UR5], R8",
        "LDS R1, [R2+UR4]",
    ]
    plain = "".join(f"        /*{16 * at:04x}*/ {line} ;\n" for at, line in enumerate(lines))
    found = assemblers.figures(code.Assembled(Resources(40, 0), code.parse(plain)))
    assert (found["STS"], found["LDS"]) == (3, 2)
    tensor = plain + "        /*0100*/ UTCHMMA gdesc[UR10], gdesc[UR12], tmem[UR7] ;\n"
    found = assemblers.figures(code.Assembled(Resources(40, 0), code.parse(tensor)))
    assert (found["STS"], found["LDS"]) == (1, 1)


def test_absent_wheels_are_asked_for_by_their_release(tmp_path):
    tool = "#!/bin/sh\necho 'Cuda compilation tools, release 12.8, V12.8.93'\n"
    with zipfile.ZipFile(tmp_path / "nvidia_cuda_nvcc_cu12-12.8.93-py3-none-any.whl", "w") as wheel:
        wheel.writestr("nvidia/cuda_nvcc/bin/ptxas", tool)
    with pytest.raises(assemblers.UsageError, match=r"found none of 12\.6, 13\.0"):
        assemblers.unpack(tmp_path, tmp_path / "unpacked")


def test_no_recorded_kernel_is_made_otherwise_by_an_assembler_of_the_field():
    document = json.loads(assemblers.RESULTS.read_text())
    assert set(document["releases"]) == set(assemblers.READS)
    by_arch = {row["arch"]: set(row["others"]) for row in document["kernels"]}
    assert by_arch["sm_87"] == {"12.6", "12.8", "13.0"}
    assert by_arch["sm_100"] == {"12.8", "13.0"}
    assert by_arch["sm_110"] == {"13.0"}
    for row in document["kernels"]:
        for name, other in row["others"].items():
            assert assemblers.differences(name, row["triton"], other) == [], row["arch"]
