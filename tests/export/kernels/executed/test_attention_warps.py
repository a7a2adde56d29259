"""The kernel of sm_90 whose warps have roles, executed: its results, in any order, and planted faults."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")

import ptx_cases
from ptx_cases import attention, compiled, execute
from ptx_machine.arithmetic import from_half, to_half
from ptx_machine.faults import Fault
from ptx_machine.launch import SCHEDULES, Launch, launch
from ptx_machine.memory.global_memory import GlobalMemory

from danet_export.kernels import position_attention
from danet_export.kernels.architectures import ARCHITECTURES
from danet_export.kernels.compiler import compile_kernel
from danet_export.ops.position_attention import reference
from danet_runtime.bundle.operators import OPERATORS

TOLERANCE = OPERATORS["PositionAttention"].tolerance
ROUND = attention(328, 16, 64, "sm_90")  # six blocks of keys in four places, the last one cut off
SEEDS = range(3)

pytestmark = pytest.mark.slow


def check(case, seed=0):
    outcome = execute(case, seed)
    assert compiled(case)[0].function.__name__ == "position_attention_warps"
    assert outcome.error <= TOLERANCE[case.dtype] / 4
    assert (outcome.unwritten, outcome.twice) == (0, 0)
    return outcome


@pytest.mark.parametrize(
    ("tokens", "d_qk", "d_v"),
    [
        (8, 16, 64),  # one block of keys, one consumer without queries
        (64, 16, 64),
        (72, 32, 128),
        (200, 16, 64),
        (256, 16, 64),  # nothing is cut off
        (384, 32, 64),
        (200, 64, 512),  # DANet's own widths
    ],
)
def test_any_number_of_blocks_computes_what_float64_says(tokens, d_qk, d_v):
    check(attention(tokens, d_qk, d_v, "sm_90"))


def test_two_samples_in_bfloat16_come_out_right():
    check(attention(136, 16, 128, "sm_90", batch=2, dtype="bf16"))


def test_energies_far_beyond_fp16_s_range_give_no_infinity():
    check(attention(136, 32, 64, "sm_90", deviation=90.0))


@pytest.mark.parametrize(("tokens", "pitch"), [(193, 256), (200, 208), (1, 8)])
def test_what_pads_the_rows_of_query_key_and_value_may_be_anything(tokens, pitch):
    sizes = {"batch": 1, "tokens": tokens, "pitch": pitch, "d_qk": 16, "d_v": 64}
    spec = position_attention.specify(sizes, ARCHITECTURES["sm_90"], "tuned")
    assert spec.function.__name__ == "position_attention_warps"
    kernel = compile_kernel(spec, ARCHITECTURES["sm_90"], "fp16")
    random, memory, inputs, addresses = np.random.default_rng(0), GlobalMemory(), {}, []
    for name, channels, width in (("q", 16, pitch), ("k", 16, pitch), ("v", 64, pitch), ("x", 64, tokens)):
        values = np.full((1, channels, 1, width), np.nan, np.float32)
        values[..., :tokens] = 0.6 * random.standard_normal((1, channels, 1, tokens))
        bits = to_half(values)
        inputs[name] = from_half(bits)[..., :tokens].astype(np.float64)
        addresses.append(memory.put(name, bits).address)
    output = memory.allocate("output", 2 * 64 * tokens)
    how = Launch(spec.grid, kernel.block, kernel.shared_memory_bytes)
    launch(kernel.ptx, how, [*addresses, output.address], memory)
    result = from_half(memory.read(output).view(np.uint16)).reshape(1, 64, 1, tokens)
    error = OPERATORS["PositionAttention"].error(result, reference(inputs, {}))
    assert error <= TOLERANCE["fp16"] / 4
    assert (memory.writes(output) == 1).all()


def test_no_order_of_warps_and_copies_changes_a_result_and_all_code_is_executed():
    schedules, unreached = set(), set()
    for seed in range(12):
        report = check(ROUND, seed).report
        schedules |= report.schedules
        unreached = set(report.unreached) & unreached if seed else set(report.unreached)
    assert schedules == set(SCHEDULES)
    # What Triton writes for warps that have no role in a region, of which there are none here.
    assert all(re.fullmatch(r"barrier\.sync 1|bra\.uni \$L__BB0_\d+", text) for text in unreached)


def test_the_consumers_loops_hold_two_barriers_of_a_warpgroup_and_none_of_the_block():
    text = compiled(ROUND)[1].ptx
    labels = {match[1]: match.start() for match in re.finditer(r"^(\$L__BB0_\d+):", text, re.M)}
    loops = [
        text[labels[branch[1]] : branch.start()]
        for branch in re.finditer(r"@%p\d+ bra\s+(\$L__BB0_\d+);", text)
        if labels[branch[1]] < branch.start()
    ]
    consumers = [loop for loop in loops if "wgmma.mma_async" in loop]
    assert len(consumers) == 2
    for loop in consumers:
        barriers = re.findall(r"\b(?:bar|barrier)\.sync[^;]*;", loop)
        assert len(barriers) == 2
        assert all(re.fullmatch(r"bar\.sync\s+\d, 128;", barrier) for barrier in barriers)


def test_the_compiler_ends_without_a_word(tmp_path):
    """Gluon's own classes would be told of as leaks."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(ptx_cases.__file__).parent)!r})\n"
        "from ptx_cases import attention, compiled\n"
        "compiled(attention(8, 16, 64, 'sm_90'))"
    )
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert list(tmp_path.rglob("position_attention_warps.ptx"))


WAIT = (
    r"mbarrier\.try_wait\.parity\.shared::cta\.b64 complete, \[[^\]]*\], %r\d+;"
    r"\s*@!complete bra\.uni waitLoop;"
)
PARITY = r"(mbarrier\.try_wait\.parity[^;]*\], )%r\d+;"
ARRIVE = r"@%p\d+ mbarrier\.arrive\.[^;]*;"
COPIES_ARRIVE = r"cp\.async\.mbarrier\.arrive\.noinc\.shared\.b64\s+(\[[^\]]*\]);"
UNORDERED = {"shared-race", "shared-uninitialised", "async-copy-not-waited", "product-in-flight"}


def noticed(pattern, replacement, which=0):
    """Return the fault of one block, in one of a few orders, where a match of a pattern is changed."""

    def change(entry, text):
        found = list(re.finditer(pattern, text))[which]
        text = text[: found.start()] + found.expand(replacement) + text[found.end() :]
        return entry.model_copy(update={"grid": (1, 1, 1)}), text

    for seed in SEEDS:
        try:
            execute(ROUND, seed, change=change)
        except Fault as fault:
            return fault.kind
    return None


def matches(pattern):
    return len(re.findall(pattern, compiled(ROUND)[1].ptx))


def test_what_is_not_changed_is_not_noticed():
    assert noticed(r"ret;", "ret;") is None


def test_every_wait_is_needed_but_for_values_whose_successors_keys_are_there():
    """The copies of values n - 1 are begun before those of keys n, and so told of with them."""
    found = [noticed(WAIT, "", which) for which in range(matches(WAIT))]
    consumer = ["first keys", "keys", "values", "last values", "residual"]
    places = [*consumer, "room for keys", "room for values", *consumer]
    assert [place for place, kind in zip(places, found, strict=True) if kind is None] == ["values", "values"]
    assert set(found) - {None} <= UNORDERED


@pytest.mark.parametrize("which", range(6))
def test_an_arrival_that_is_dropped_or_made_by_all_lanes_is_noticed(which):
    assert noticed(ARRIVE, "", which) == "deadlock"
    assert noticed(r"@%p\d+ (mbarrier\.arrive\.[^;]*;)", r"\1", which) == "mbarrier-overflow"


@pytest.mark.parametrize(
    ("pattern", "replacement", "which", "kinds"),
    [
        (PARITY, r"\g<1>0;", 1, {"deadlock"}),
        (PARITY, r"\g<1>1;", 1, {"deadlock"} | UNORDERED),
        (PARITY, r"\g<1>0;", 5, {"deadlock"}),
        (PARITY, r"\g<1>1;", 5, {"deadlock"} | UNORDERED),
        (PARITY, r"\g<1>1;", 6, {"deadlock"} | UNORDERED),
        (r"(mbarrier\.init[^;]*), 128;", r"\1, 129;", 1, {"deadlock"}),
        (r"(mbarrier\.init[^;]*), 2;", r"\1, 1;", 1, {"mbarrier-overflow", "deadlock"} | UNORDERED),
        (COPIES_ARRIVE, "", 2, {"deadlock"}),
        (r"(cp\.async\.mbarrier\.arrive)\.noinc", r"\1", 2, {"deadlock"}),
        (COPIES_ARRIVE, r"mbarrier.arrive.shared.b64 _, \1;", 2, {"async-copy-not-waited"}),
        (r"fence\.proxy\.async[^;]*;", "", 1, {"missing-proxy-fence"}),
        (r"wgmma\.fence[^;]*;", "", 1, {"missing-wgmma-fence"}),
        (r"(wgmma\.wait_group\.sync\.aligned\s+)1;", r"\g<1>2;", 0, {"register-in-flight"}),
        (r"(wgmma\.wait_group\.sync\.aligned\s+)0;", r"\g<1>1;", 1, {"register-in-flight"}),
        (r"(setmaxnreg\.inc\.sync\.aligned\.u32\s+)240;", r"\g<1>248;", 0, {"deadlock"}),
        (r"(cp\.async\.cg\.shared\.global \[ %r\d+ \+ )0", r"\g<1>16", 8, UNORDERED),
    ],
)
def test_a_fault_in_how_the_roles_meet_is_noticed(pattern, replacement, which, kinds):
    assert noticed(pattern, replacement, which) in kinds
