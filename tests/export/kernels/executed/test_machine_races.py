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
.entry k(.param .u64 .ptr k_param_0) .reqntid 64
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


def run(body, *, shared=256, seed=0, buffer=256):
    """Run two warps. Each thread has a word of the buffer, %rd3, and one of shared memory, %r4; %r6 is the
    other warp's and %r8 a neighbour's; %p1 is true in thread 0.
    """
    memory = GlobalMemory()
    words = memory.put("words", np.arange(buffer // 4, dtype=np.uint32), writable=True)
    how = Launch(grid=(1, 1, 1), block=(64, 1, 1), shared_memory=shared, seed=seed)
    report = launch(HEAD + body + TAIL, how, [words.address], memory)
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


HALVES = """
setp.lt.u32 %p2, %r1, 32;
@%p2 bra $L;
setmaxnreg.dec.sync.aligned.u32 24;
bra $E;
$L:
setmaxnreg.inc.sync.aligned.u32 240;
$E:
"""


def test_a_kernel_that_asks_for_more_registers_than_others_gave_back_never_goes_on():
    assert fault_of(HALVES) in ("deadlock", "setmaxnreg")
