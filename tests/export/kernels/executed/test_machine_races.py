"""Small programs with one fault each: the machine names it, and lets the same program without it pass."""

import numpy as np
import pytest
from ptx_machine.faults import Fault
from ptx_machine.launch import Launch, launch
from ptx_machine.memory.global_memory import GlobalMemory

HEAD = """.version 8.0
.target sm_90a
.address_size 64
.extern .shared .align 16 .b8 global_smem[];
.entry k(.param .u64 .ptr k_param_0) .reqntid THREADS .maxnreg 168
{
.reg .pred %p<9>;
.reg .b32 %r<30>;
.reg .b64 %rd<9>;
ld.param.b64 %rd1, [k_param_0];
mov.u32 %r1, %tid.x;
mul.wide.u32 %rd2, %r1, 4;
add.s64 %rd3, %rd1, %rd2;
mov.u32 %r2, global_smem;
shl.b32 %r3, %r1, 2;
add.s32 %r4, %r2, %r3;
xor.b32 %r5, %r3, 128;
add.s32 %r6, %r2, %r5;
xor.b32 %r7, %r3, 4;
add.s32 %r8, %r2, %r7;
setp.eq.b32 %p1, %r1, 0;
"""
TAIL = "ret;\n}\n"


def run(body, *, shared=256, seed=0, buffer=256, threads=64):
    """Run two warps, or more. Each thread has a word of the buffer, %rd3, and one of shared memory, %r4; %r6
    is the other warp's and %r8 a neighbour's; %p1 is true in thread 0.
    """
    memory = GlobalMemory()
    words = memory.put("words", np.arange(buffer // 4, dtype=np.uint32), writable=True)
    how = Launch(grid=(1, 1, 1), block=(threads, 1, 1), shared_memory=shared, seed=seed)
    report = launch(HEAD.replace("THREADS", str(threads)) + body + TAIL, how, [words.address], memory)
    return memory.read(words).view(np.uint32), report


def fault_of(body, **how):
    with pytest.raises(Fault) as caught:
        run(body, **how)
    return caught.value.kind


EXCHANGE = """
st.shared.b32 [%r4], %r1;
BARRIER
ld.shared.b32 %r9, [FROM];
st.global.b32 [%rd3], %r9;
"""


def exchange(barrier, source):
    return EXCHANGE.replace("BARRIER", barrier).replace("FROM", source)


def test_warps_that_exchange_words_behind_a_barrier_get_them():
    words, report = run(exchange("bar.sync 0;", "%r6"))
    assert words.tolist() == [index ^ 32 for index in range(64)]
    assert (report.barriers, report.unreached) == (1, [])


def test_warps_that_do_so_without_a_barrier_race_in_every_order():
    assert {fault_of(exchange("", "%r6"), seed=seed) for seed in range(12)} <= {
        "shared-race",
        "shared-uninitialised",
    }


def test_lanes_that_exchange_words_need_a_barrier_of_their_warp():
    words, _ = run(exchange("bar.warp.sync -1;", "%r8"))
    assert words.tolist() == [index ^ 1 for index in range(64)]
    assert fault_of(exchange("", "%r8")) == "warp-race"


def test_a_barrier_that_not_all_reach_is_a_deadlock():
    assert fault_of("setp.lt.u32 %p2, %r1, 32;\n@%p2 bra $L;\nbar.sync 0;\n$L:\n") == "deadlock"


def test_a_branch_that_some_lanes_take_is_refused():
    assert fault_of("@%p1 bra $L;\nbar.sync 0;\n$L:\n") == "divergence"


def test_addresses_are_held_to_buffers_and_alignment():
    assert fault_of("st.global.b32 [%rd3 + 4], %r1;") == "global-out-of-bounds"
    assert fault_of("st.global.b32 [%rd3 + 2], %r1;", buffer=512) == "misaligned-global"
    assert fault_of("st.shared.b32 [%r4 + 4], %r1;") == "shared-out-of-bounds"
    assert fault_of("ld.shared.b32 %r9, [%r4];") == "shared-uninitialised"
    assert fault_of("add.s32 %r9, %r10, 1;\nmov.b32 %r10, 1;") == "register-uninitialised"


def copied(*between):
    body = [
        "shl.b32 %r10, %r1, 4;",
        "add.s32 %r11, %r2, %r10;",
        "mul.wide.u32 %rd4, %r1, 16;",
        "add.s64 %rd5, %rd1, %rd4;",
        "cp.async.cg.shared.global [%r11], [%rd5], 0x10;",
        "cp.async.commit_group;",
        *between,
    ]
    return "\n".join(body)


READ_OWN = "ld.shared.b32 %r12, [%r11];\nst.global.b32 [%rd3], %r12;"
READ_OTHER = "xor.b32 %r13, %r10, 512;\nadd.s32 %r14, %r2, %r13;\nld.shared.b32 %r12, [%r14];"
SIZES = {"shared": 1024, "buffer": 1024}


def test_a_copy_is_there_for_its_own_thread_once_it_has_waited():
    run(copied("cp.async.wait_group 0;", "ld.shared.b32 %r12, [%r11];"), **SIZES)
    assert (
        fault_of(copied("ld.shared.b32 %r12, [%r11];", "cp.async.wait_group 0;"), **SIZES)
        == "async-copy-not-waited"
    )


def test_a_copy_is_there_for_others_behind_a_barrier_alone():
    run(copied("cp.async.wait_group 0;", "bar.sync 0;", READ_OTHER), **SIZES)
    assert fault_of(copied("cp.async.wait_group 0;", READ_OTHER), **SIZES) in (
        "shared-race",
        "async-copy-not-waited",
        "shared-uninitialised",
    )


def test_a_copy_that_nobody_waits_for_is_told():
    assert fault_of(copied(), **SIZES) == "unfinished-async"


INITIAL = "add.s32 %r20, %r2, 512;\n@%p1 mbarrier.init.shared.b64 [%r20], 64;\nbar.sync 0;\n"
WAIT = "$W:\nmbarrier.try_wait.parity.shared.b64 %p3, [%r20], 0;\n@!%p3 bra $W;\n"


def test_an_mbarrier_hands_on_what_came_before_its_arrivals():
    body = INITIAL + "st.shared.b32 [%r4], %r1;\nmbarrier.arrive.shared.b64 _, [%r20];\n" + WAIT
    words, report = run(body + "ld.shared.b32 %r9, [%r6];\nst.global.b32 [%rd3], %r9;", shared=1024)
    assert words.tolist() == [index ^ 32 for index in range(64)]
    assert report.arrivals == 64


def test_what_comes_after_the_arrival_is_not_handed_on():
    body = INITIAL + "mbarrier.arrive.shared.b64 _, [%r20];\nst.shared.b32 [%r4], %r1;\n" + WAIT
    found = {fault_of(body + "ld.shared.b32 %r9, [%r6];", shared=1024, seed=seed) for seed in range(8)}
    assert found <= {"shared-race", "shared-uninitialised"}


def test_an_mbarrier_that_expects_more_arrivals_than_come_is_a_deadlock():
    assert (
        fault_of(
            INITIAL.replace("64;", "65;") + "mbarrier.arrive.shared.b64 _, [%r20];\n" + WAIT, shared=1024
        )
        == "deadlock"
    )


def test_an_mbarrier_that_gets_more_than_it_expects_is_told():
    body = INITIAL.replace(", 64;", ", 32;") + "mbarrier.arrive.shared.b64 _, [%r20], 2;\n"
    assert fault_of(body, shared=1024) == "mbarrier-overflow"


def test_an_mbarrier_must_be_initialised_before_others_may_use_it():
    assert fault_of(
        INITIAL.replace("bar.sync 0;\n", "") + "mbarrier.arrive.shared.b64 _, [%r20];", shared=1024
    ) in ("mbarrier-race", "mbarrier-uninitialised")


ARRIVE_WITH_COPIES = "cp.async.mbarrier.arrive.noinc.shared.b64 [%r20];\n"
MORE = {"shared": 2048, "buffer": 1024}


def told_of(*between):
    """A copy of every thread's own, of which an mbarrier tells."""
    initial = "add.s32 %r20, %r2, 1024;\n@%p1 mbarrier.init.shared.b64 [%r20], 64;\nbar.sync 0;\n"
    return initial + copied(*between).replace("cp.async.commit_group;\n", "")


def test_an_mbarrier_tells_others_of_copies_once_they_are_there():
    for seed in range(8):
        words, report = run(
            told_of(ARRIVE_WITH_COPIES, WAIT, READ_OTHER, "st.global.b32 [%rd3], %r12;"), seed=seed, **MORE
        )
        assert words[:64].tolist() == [4 * (index ^ 32) for index in range(64)]
        assert report.arrivals == 64


@pytest.mark.parametrize(
    ("between", "kinds"),
    [
        ((ARRIVE_WITH_COPIES, READ_OTHER), {"async-copy-not-waited", "shared-race", "shared-uninitialised"}),
        (("mbarrier.arrive.shared.b64 _, [%r20];", WAIT, READ_OTHER), {"async-copy-not-waited"}),
        ((ARRIVE_WITH_COPIES.replace(".noinc", ""), WAIT), {"deadlock"}),
        # What a thread has stored itself is not told of by an arrival of its copies.
        (
            (
                *("st.shared.b32 [%r11 + 1088], %r1;", ARRIVE_WITH_COPIES, WAIT),
                *("xor.b32 %r13, %r10, 512;\nadd.s32 %r14, %r2, %r13;", "ld.shared.b32 %r12, [%r14 + 1088];"),
            ),
            {"shared-race"},
        ),
    ],
)
def test_copies_that_are_told_of_wrongly_are_noticed(between, kinds):
    more = {**MORE, "shared": 4096}
    assert {fault_of(told_of(*between), seed=seed, **more) for seed in range(6)} <= kinds


def test_a_wait_for_a_phase_that_the_next_one_has_overtaken_never_ends():
    twice = INITIAL + 2 * "mbarrier.arrive.shared.b64 _, [%r20];\nbar.sync 0;\n"
    assert fault_of(twice + WAIT, shared=1024) == "deadlock"
    run(twice + WAIT.replace("[%r20], 0;", "[%r20], 1;"), shared=1024)


ONE_WARP_ALONE = "setp.lt.u32 %p2, %r1, 32;\n@!%p2 bra $L;\nBARRIER\n$L:\n"


def test_a_barrier_of_some_warps_waits_for_these_alone():
    _, report = run(ONE_WARP_ALONE.replace("BARRIER", "bar.sync 3, 32;"))
    assert report.barriers == 1
    assert fault_of(ONE_WARP_ALONE.replace("BARRIER", "bar.sync 3, 64;")) == "deadlock"
    words, _ = run(exchange("bar.sync 3, 64;", "%r6"))
    assert words.tolist() == [index ^ 32 for index in range(64)]


def test_a_barrier_that_warps_use_with_different_numbers_of_threads_is_told():
    one = ONE_WARP_ALONE.replace("BARRIER", "bar.sync 3, 128;\nbra $E;") + "bar.sync 3, 64;\n$E:\n"
    assert fault_of(one) == "barrier"


def test_one_lane_of_each_warp_is_elected():
    for seed in range(4):
        words, _ = run(
            "elect.sync %r9|%p2, -1;\nmov.b32 %r10, 0;\n@%p2 mov.b32 %r10, 1;\nst.global.b32 [%rd3], %r10;",
            seed=seed,
        )
        assert [int(words[:32].sum()), int(words[32:64].sum())] == [1, 1]


GROUPS = """
setp.lt.u32 %p2, %r1, 128;
@%p2 bra $L;
setmaxnreg.dec.sync.aligned.u32 LESS;
bra $E;
$L:
setmaxnreg.inc.sync.aligned.u32 MORE;
$E:
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_warpgroup_gets_the_registers_that_another_gave_back_and_no_more(seed):
    how = {"threads": 256, "buffer": 1024, "seed": seed}
    run(GROUPS.replace("LESS", "96").replace("MORE", "240"), **how)
    assert fault_of(GROUPS.replace("LESS", "96").replace("MORE", "248"), **how) == "deadlock"
    assert fault_of(GROUPS.replace("LESS", "176").replace("MORE", "240"), **how) == "setmaxnreg"


HALVES = """
setp.lt.u32 %p2, %r1, 32;
@%p2 bra $L;
setmaxnreg.dec.sync.aligned.u32 24;
bra $E;
$L:
setmaxnreg.inc.sync.aligned.u32 240;
$E:
"""


def test_warps_of_one_group_that_disagree_about_their_registers_are_told():
    assert fault_of(HALVES) == "warpgroup"
