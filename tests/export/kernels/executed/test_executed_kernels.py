"""Every kernel's PTX, executed instruction by instruction behind the product's driver class, against float64.

The sizes are small, but such that every instruction of each kernel is reached: more blocks of keys than the
pipeline has stages, more than one tile of channels, rows that end inside a block. Padding holds NaN: one of
it in a sum would be seen. The kernel of sm_90 whose warps have roles has tests of its own
(test_attention_warps.py); here stands the one in step.
"""

import pytest

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")

import ptx_cases
from ptx_cases import attention, energy, execute, labels

from benchmarks.gpu.kernels.attention_parts import parts_of
from danet_export.kernels.architectures import ARCHITECTURES
from danet_export.kernels.compiler import compile_kernel
from danet_runtime.bundle.operators import OPERATORS

EVERY = [name for name in ARCHITECTURES if name != "sm_87"]
WITH_MMA = ["sm_80", "sm_86", "sm_87", "sm_89", "sm_120"]
"""Architectures whose warps multiply by ``mma.sync``; ``tuned`` and ``small`` are one kernel there."""


def cases(arch):
    """Aligned, odd and two-channel-tile problems of each operator, both variants."""
    found = [labels((1, 5, 9, 13), (33, 50), arch), labels((2, 3, 5, 4), (17, 9), arch, align_corners=True)]
    found.append(labels((1, 5, 4, 7), (32, 56), arch))  # eight times: four rows at once
    # The tiles of sm_75 are small, and its products take long.
    aligned, odd, pitch = (72, 79, 128) if arch == "sm_75" else (200, 215, 256)
    d_v = 256 if arch in WITH_MMA else 64
    for variant in ("tuned", "small"):
        if variant == "tuned" or arch not in WITH_MMA:
            found.append(attention(aligned, 16, d_v, arch, variant=variant, in_step=True))
            found.append(attention(odd, 16, d_v, arch, variant=variant, pitch=pitch, in_step=True))
        found.append(attention(odd, 16, 64, arch, variant=variant, in_step=True))
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
    check(attention(161, 16, 256, arch, batch=2, dtype="bf16", pitch=256, in_step=True), everything=False)
    check(energy(96, 200, 2, arch, batch=2, dtype="bf16"), everything=False)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_80", "sm_86", "sm_90", "sm_100"])
def test_danet_s_own_widths_come_out_right(arch):
    check(attention(256, 64, 512, arch, in_step=True), everything=False)


@pytest.mark.slow
@pytest.mark.parametrize("padding", [float("nan"), float("inf"), -6e4, 6e4], ids=str)
@pytest.mark.parametrize("arch", ["sm_75", "sm_86", "sm_87", "sm_90", "sm_110"])
def test_padding_may_hold_anything(arch, padding):
    check(attention(97, 64, 128, arch, pitch=128, padding=padding), everything=False)


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [8, 32, 33, 64, 127, 128, 136])
@pytest.mark.parametrize("arch", ["sm_87", "sm_89"])
def test_rows_may_end_anywhere_in_a_block_of_keys_or_of_queries(arch, tokens):
    pitch = None if tokens % 8 == 0 else 128
    check(attention(tokens, 64, 128, arch, pitch=pitch), everything=False)


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


@pytest.mark.slow
@pytest.mark.parametrize(("tokens", "pitch"), [(136, None), (97, 128)])
def test_the_form_in_parts_that_is_compared_on_a_gpu_is_right(tokens, pitch, monkeypatch):
    case = attention(tokens, 64, 256, "sm_86", pitch=pitch)
    spec = parts_of(ptx_cases.compiled(ptx_cases.plain(case))[0], ARCHITECTURES["sm_86"])
    kernel = compile_kernel(spec, ARCHITECTURES["sm_86"], "fp16")
    monkeypatch.setattr(ptx_cases, "compiled", lambda _: (spec, kernel))
    check(case, everything=False)
