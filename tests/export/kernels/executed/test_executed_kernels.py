"""Every kernel's PTX, executed instruction by instruction behind the product's driver class, against float64.

The sizes are small, but such that every instruction of each kernel is reached: more blocks of keys than the
pipeline has stages, more than one tile of channels, rows that end inside a block. The kernel of sm_90 whose
warps have roles has tests of its own (test_attention_warps.py); here stands the one in step.
"""

import pytest

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")

from ptx_cases import attention, energy, execute, labels

from danet_export.kernels.architectures import ARCHITECTURES
from danet_runtime.bundle.operators import OPERATORS

EVERY = [name for name in ARCHITECTURES if name != "sm_87"]


def cases(arch):
    """Aligned, odd and two-channel-tile problems of each operator, both variants."""
    found = [labels((1, 5, 9, 13), (33, 50), arch), labels((2, 3, 5, 4), (17, 9), arch, align_corners=True)]
    found.append(labels((1, 5, 4, 7), (32, 56), arch))  # eight times: four rows at once
    sizes = (72, 65) if arch == "sm_75" else (200, 193)  # its tiles are small, and its products take long
    for variant in ("tuned", "small"):
        found += [attention(tokens, 16, 64, arch, variant=variant, in_step=True) for tokens in sizes]
        channels = 64 if arch == "sm_75" else 256 if variant == "tuned" else 128
        found.append(energy(channels, 208, 2, arch, variant=variant))
    return found


def check(case, *, everything=True):
    outcome = execute(case)
    assert outcome.error <= OPERATORS[case.operator].tolerance[case.dtype] / 4
    assert (outcome.unwritten, outcome.twice) == (0, 0)
    if everything:
        assert outcome.report.unreached == []


@pytest.mark.parametrize("case", cases("sm_87"), ids=str)
def test_an_orin_s_kernels_compute_what_float64_says_and_every_instruction_is_executed(case):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for arch in EVERY for case in cases(arch)], ids=str)
def test_the_other_architectures_kernels_do_so_too(case):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("arch", [name for name, each in ARCHITECTURES.items() if each.bfloat16])
def test_two_samples_in_bfloat16_come_out_right(arch):
    check(attention(200, 16, 64, arch, batch=2, dtype="bf16", in_step=True), everything=False)
    check(energy(96, 200, 2, arch, batch=2, dtype="bf16"), everything=False)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_danet_s_own_widths_come_out_right(arch):
    check(attention(256, 64, 512, arch, in_step=True), everything=False)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_75", "sm_87", "sm_90", "sm_110"])
def test_energies_far_beyond_fp16_s_range_give_no_infinity(arch):
    check(attention(136, 32, 64, arch, deviation=90.0, in_step=True), everything=False)
    check(energy(64, 512, 1, arch, deviation=90.0), everything=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("arch", ["sm_87", "sm_90", "sm_100"])
def test_no_order_of_the_warps_changes_a_result(arch, seed):
    case = attention(200, 16, 64, arch, in_step=True)
    outcome = execute(case, seed)
    assert outcome.error <= OPERATORS[case.operator].tolerance["fp16"] / 4


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_90", "sm_110"])
def test_queries_wider_than_triton_multiplies_rightly_are_read_in_chunks(arch):
    check(attention(136, 320, 64, arch), everything=False)
