"""Machine code taken apart, its cycles, and the roofline, against figures worked out by hand."""

import importlib

import pytest

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")

from benchmarks.engines.unit_cycles import MULTIPROCESSORS, Work, cycles, multiply_adds

code = importlib.import_module("benchmarks.engines.machine_code")
roofline = importlib.import_module("benchmarks.engines.roofline")

LISTING = """
        //--------------------- .text.kernel  --------------------------
.text.kernel:
.L_x_2:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_0:
        /*0010*/                   LDSM.16.MT88.4 R8, [R2+0x400] ;
        /*0020*/              @!PT LDS RZ, [RZ] ;
        /*0030*/                   HMMA.16816.F32 R4, R8, R12, R4 ;
        /*0040*/                   SHFL.BFLY PT, R3, R4, 0x2, 0x1f ;
        /*0050*/                   MUFU.EX2 R3, R3 ;
        /*0060*/                   FFMA R3, R3, R4, R5 ;
        /*0070*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0080*/               @P1 BRA `(.L_x_0) ;
        /*0090*/              @!P0 BRA `(.L_x_1) ;
        /*00a0*/                   BRA `(.L_x_2) ;
.L_x_1:
        /*00b0*/                   EXIT ;
"""
WORK = Work(needed=1024, done=2048, queries=16, fetched=128, steps=1)


def test_a_loop_is_a_branch_backwards_and_the_innermost_is_the_shortest():
    parsed = code.parse(LISTING)
    assert len(parsed.instructions) == 12
    assert parsed.loops == ((1, 8), (0, 10))
    body = parsed.innermost(("HMMA",))
    assert [each.family for each in body] == ["LDSM", "LDS", "HMMA", "SHFL", "MUFU", "FFMA", "BAR", "BRA"]
    assert parsed.innermost(("HGMMA",)) == ()
    assert parsed.innermost(("LDSM",), without=("HMMA",)) == ()
    assert code.count(body)["BAR"] == 1


def test_cycles_are_those_of_each_unit_for_all_warps_of_a_block():
    body = code.parse(LISTING).innermost(("HMMA",))
    busy = cycles([(body, 8)], MULTIPROCESSORS["sm_87"], WORK)
    assert busy == {
        "tensor": 16 * 8 * 16 * 8 / 1024,
        "issue": 7 * 8 / 4,  # what never runs is not issued twice
        "fp32": 32 * 8 / 128,
        "mufu": 32 * 8 / 16,
        "shared": (4 + 1) * 8,  # four matrices of 128 bytes, and a shuffle
    }


def instruction(operation, *arguments):
    return code.Instruction(operation, arguments)


def test_hoppers_matrix_units_read_their_operands_from_shared_memory_themselves():
    both = instruction("HGMMA.64x64x16.F32", "R88", "gdesc[UR4].tnspA.tnspB", "RZ", "!UPT")
    right = instruction("HGMMA.64x256x16.F32", "R24", "R100", "gdesc[UR4]", "R24")
    assert multiply_adds([both, right], 8, WORK) == 2 * 64 * (64 + 256) * 16
    busy = cycles([((both, right), 8)], MULTIPROCESSORS["sm_90"], WORK)
    assert busy["tensor"] == 2 * 64 * (64 + 256) * 16 / 2048
    assert busy["shared"] == 2 * 16 * 2 * ((64 + 64) + 256) / 128


def test_blackwells_matrix_units_do_one_instruction_for_a_block():
    work = Work(needed=0, done=128 * 64 * 128, queries=128, fetched=64 * 128, steps=8)
    body = [instruction("UTCHMMA", "gdesc[UR10]", "gdesc[UR12]", "tmem[UR7]")] * 4
    body += [instruction("UTCHMMA", "tmem[UR10]", "gdesc[UR12]", "tmem[UR7]")] * 4
    assert multiply_adds(body, 8, work) == work.done
    busy = cycles([(body, 8)], MULTIPROCESSORS["sm_100"], work)
    assert busy["tensor"] == work.done / 4096
    assert busy["shared"] == (4 * 128 * 16 * 2 + 64 * 128 * 2) / 128


def test_products_without_matrix_units_are_counted_on_the_fp32_units():
    body = [instruction("FFMA", "R3", "R3", "R4", "R5")] * 512
    assert multiply_adds(body, 4, WORK) == 32 * 16 * 128
    assert cycles([(body, 4)], MULTIPROCESSORS["sm_75"], WORK)["fp32"] == 512 * 4 * 32 / 64


@pytest.mark.parametrize(
    ("arch", "registers", "shared", "threads", "blocks"),
    [
        ("sm_87", 255, 65536, 256, 1),
        ("sm_87", 128, 24576, 128, 4),
        ("sm_86", 128, 40960, 256, 2),
        ("sm_75", 32, 0, 1024, 1),
        ("sm_90", 168, 200 * 1024, 384, 1),
    ],
)
def test_resident_blocks_are_what_the_scarcest_resource_allows(arch, registers, shared, threads, blocks):
    assert MULTIPROCESSORS[arch].blocks(registers, shared, threads) == blocks


@pytest.mark.parametrize("name", roofline.PEAKS)
def test_a_devices_peak_is_that_of_its_multiprocessors_at_its_clock(name):
    """GeForce sums to FP32 at half the rate of a professional card."""
    peak = roofline.PEAKS[name]
    rate = MULTIPROCESSORS[peak.arch].tensor / (2 if name.startswith("RTX") else 1)
    counted = 2 * rate * peak.multiprocessors * peak.clock_ghz / 1e3
    assert counted == pytest.approx(peak.tflops, rel=0.01)


@pytest.mark.slow
def test_the_network_is_counted_as_its_papers_layers_say():
    """A 3x3 convolution 2048 -> 512 at an eighth of the size, and the attention's two products."""
    parts = {each.name: each for each in roofline.modules(50, (128, 256))}
    tokens = 16 * 32
    assert parts["pam_in_conv"].flops == 2 * tokens * 2048 * 512 * 9
    assert parts["pam_in_conv"].bytes == 2 * (tokens * (2048 + 512) + 2048 * 512 * 9)
    assert parts["PositionAttention"].flops == 2 * tokens**2 * (64 + 512)
    stem = parts["backbone stem"]
    assert stem.flops == 2 * 64 * 128 * (3 * 32 * 9 + 32 * 32 * 9 + 32 * 64 * 9)
    assert {"backbone layer1", "backbone layer4", "cam_in_conv", "conv_seg", "ChannelEnergy"} <= set(parts)
    assert not any(name.startswith("aux") for name in parts)
    orin = roofline.PEAKS["Jetson AGX Orin 64GB"]
    assert roofline.seconds(roofline.Module("computes", 425 * 10**11, 1), orin) == 1.0
    assert roofline.seconds(roofline.Module("moves", 1, 2048 * 10**8), orin) == 1.0
