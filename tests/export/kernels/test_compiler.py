"""The kernels compiled: parameters, PTX version, resources, specialisation and cache."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")

from danet_export.errors import ExportError
from danet_export.graph.geometry import plan_geometry
from danet_export.graph.wrapper import operator_sizes
from danet_export.kernels import cache, channel_energy, compiler, position_attention, ptx, upsample_argmax
from danet_export.kernels.architectures import ARCHITECTURES, SMALL_SHARED_MEMORY
from danet_export.kernels.bundle_kernels import VARIANTS, specify
from danet_export.kernels.cache import compile_cached
from danet_export.kernels.specification import blocks, next_power_of_two
from danet_runtime.bundle.operators import OPERATORS
from danet_train.model.config import DANetConfig

SIZES = {32768: (1024, 2048), 9409: (769, 769)}
WITH_MMA = ["sm_80", "sm_86", "sm_87", "sm_89", "sm_120"]
SPILLS_ALLOWED = {
    ("sm_75", 9409): 400,  # FP32 units, which take their operands from registers
    ("sm_87", 9409): 16,
    ("sm_120", 9409): 80,
    ("sm_120", 32768): 16,
}
"""Bytes that position attention may store and load."""
CAPS = {"sm_100": "8.7", "sm_110": "9.0", "sm_120": "8.7"}


def problem(tokens):
    return operator_sizes(DANetConfig(), plan_geometry(SIZES[tokens]))


def attention(tokens, d_qk=64, d_v=512):
    return {"batch": 1, "tokens": tokens, "d_qk": d_qk, "d_v": d_v}


LABELS = OPERATORS["UpsampleArgmax"].sizes([(1, 3, 8, 8)], {"height": 64, "width": 64, "align_corners": 0})


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


def check(architecture, tokens, dtype, folder):
    for variant in VARIANTS:
        for spec in specify(problem(tokens), architecture, variant):
            kernel = compile_cached(spec, architecture, dtype, folder)
            where = f"{spec.operator} {variant} N={tokens}"
            limit = SMALL_SHARED_MEMORY if variant == "small" else architecture.shared_memory_limit
            assert kernel.shared_memory_bytes <= limit, where
            assert kernel.registers <= 255, where
            assert kernel.spill_bytes <= SPILLS_ALLOWED.get((architecture.name, tokens), 0), where
            assert len(ptx.parameter_names(kernel.ptx)) == len(spec.pointers), where
            assert kernel.ptx_version == CAPS.get(architecture.name, "8.5")
            assert ptx.ptx_version(kernel.ptx) == kernel.ptx_version
            assert ptx.ptx_target(kernel.ptx).rstrip("a") == architecture.name
            assert kernel.block == (32 * (spec.options.warps + spec.options.workers), 1, 1)
            assert all(0 < blocks < 65536 for blocks in spec.grid[1:]), where
            assert kernel.entry == spec.function.__name__
            assert "st.shared." not in kernel.ptx, where
            assert "/" not in re.sub(r"//.*", "", kernel.ptx), "a path of the machine that compiled"


def test_an_architecture_within_its_limits(kept):
    check(ARCHITECTURES["sm_87"], 32768, "fp16", kept)


@pytest.mark.slow
@pytest.mark.parametrize("tokens", SIZES)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_within_its_limits(name, tokens, kept):
    check(ARCHITECTURES[name], tokens, "fp16", kept)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sm_80", "sm_90", "sm_120"])
def test_bfloat16_within_the_same_limits(name, kept):
    check(ARCHITECTURES[name], 32768, "bf16", kept)


def position(tokens, name="sm_87", variant="tuned", **more):
    sizes = {**attention(tokens, 64, 512), **more}
    return position_attention.specify(sizes, ARCHITECTURES[name], variant)


def test_aligned_and_padded_rows_are_read_in_wide_asynchronous_copies(kept):
    wide = compile_cached(position(32768), ARCHITECTURES["sm_87"], "fp16", kept).ptx
    padded = compile_cached(position(9409, pitch=9472), ARCHITECTURES["sm_87"], "fp16", kept).ptx
    narrow = compile_cached(position(9409), ARCHITECTURES["sm_87"], "fp16", kept).ptx
    assert "cp.async.cg.shared.global" in wide
    assert "cp.async.cg.shared.global" in loop_of(padded)
    assert "ld.global" not in loop_of(padded)
    assert "cp.async" not in narrow
    assert not re.search(r"ld\.global\.v[248]", narrow)
    assert "mma.sync" in wide
    assert "mma.sync" in narrow


@pytest.mark.parametrize(
    ("tokens", "d_qk", "d_v", "entry"),
    [
        (32768, 64, 512, "position_attention_warps"),
        (9408, 16, 128, "position_attention_warps"),
        (9409, 64, 512, "position_attention"),  # rows at odd addresses
        (32768, 128, 512, "position_attention"),  # queries that do not fit into registers
        (32768, 64, 384, "position_attention"),  # values that are no multiple of its channels
    ],
)
def test_hopper_s_warps_have_roles_where_the_sizes_suit_them(tokens, d_qk, d_v, entry):
    def entry_of(name, variant="tuned"):
        spec = position_attention.specify(attention(tokens, d_qk, d_v), ARCHITECTURES[name], variant)
        return spec.function.__name__

    assert entry_of("sm_90") == entry
    for others in (("sm_90", "small"), ("sm_87",), ("sm_100",), ("sm_120",)):
        assert entry_of(*others) == "position_attention"


def test_a_triton_whose_gluon_is_not_known_gives_hopper_the_kernel_in_step(monkeypatch):
    monkeypatch.setattr(position_attention.triton, "__version__", "3.10.1")
    assert position(32768, "sm_90").function.__name__ == "position_attention"


def loop_of(text):
    """The longest part of the code that ends in a jump to its beginning."""
    return max(re.findall(r"(?s)\n(\$L__BB\w+):(.*?)bra\S*\s+\1;", text), key=lambda found: len(found[1]))[1]


def check_loop(name, kept):
    text = compile_cached(position(32768, name), ARCHITECTURES[name], "fp16", kept).ptx
    loop = loop_of(text)
    warps = int(re.search(r"\.reqntid (\d+)", text)[1]) // 32
    queries = 128 // warps // 8  # of a thread: 32 lanes hold 8 rows of a fragment, 4 lanes each
    assert loop.count("bar.sync") == 2, "one when a stage has come, one before it is written again"
    assert loop.count("shfl.sync") == 2 * 2 * queries, "maximum and sum of each query over four lanes"
    assert "st.shared" not in loop, "weights stay in registers"
    assert loop.count("mma.sync") * 16 * 8 * 16 * warps == 128 * 32 * (64 + 128)


def test_the_softmax_of_a_block_of_keys_stays_inside_a_warp(kept):
    check_loop("sm_87", kept)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WITH_MMA if name != "sm_87"])
def test_it_does_so_on_the_other_architectures_with_mma(name, kept):
    check_loop(name, kept)


@pytest.mark.parametrize("tokens", [8192, 9472, 32776])
@pytest.mark.parametrize("name", WITH_MMA)
def test_the_tuned_kernel_is_the_small_one_where_warps_multiply_by_mma(name, tokens):
    tuned, small = (position(tokens, name, variant) for variant in VARIANTS)
    assert replace(small, variant="tuned") == tuned


def test_registers_are_held_to_what_two_blocks_share_where_blocks_have_8_warps(kept):
    for name, limited in (("sm_87", False), ("sm_86", True)):
        kernel = compile_cached(position(32768, name), ARCHITECTURES[name], "fp16", kept)
        assert (".maxnreg 128" in kernel.ptx) == limited
        assert (kernel.registers <= 128) == limited


@pytest.mark.slow
def test_hopper_computes_with_its_own_matrix_instructions(kept):
    assert (
        "wgmma.mma_async"
        in compile_cached(position(32768, "sm_90"), ARCHITECTURES["sm_90"], "fp16", kept).ptx
    )


def test_multiply_add_is_fused_in_the_attention_and_never_in_the_upsampling(kept):
    spec = upsample_argmax.specify(problem(9409)["UpsampleArgmax"], ARCHITECTURES["sm_87"], "tuned")
    text = compile_cached(spec, ARCHITECTURES["sm_87"], "fp16", kept).ptx
    assert "fma" not in text
    # A plain mul.f32 would leave the driver's compiler free to fuse it after all.
    assert "mul.rn.f32" in text
    assert not re.search(r"\b(mul|add|sub)\.f32", text)
    assert "fma.rn.f32" in compile_cached(position(32768), ARCHITECTURES["sm_87"], "fp16", kept).ptx


@pytest.mark.slow
def test_a_kernel_that_needs_too_much_shared_memory_is_refused():
    spec = position_attention.specify(attention(1024, 64, 512), ARCHITECTURES["sm_100"], "tuned")
    with pytest.raises(ExportError, match=r"PositionAttention for sm_86, tuned: \d+ bytes of shared memory"):
        compiler.compile_kernel(spec, ARCHITECTURES["sm_86"], "fp16")


@pytest.mark.slow
def test_a_small_kernel_beyond_48_kib_is_refused_also_where_it_is_kept(tmp_path):
    architecture = ARCHITECTURES["sm_90"]
    tuned = position_attention.specify(attention(1024, 64, 512), architecture, "tuned")
    assert compile_cached(tuned, architecture, "fp16", tmp_path).shared_memory_bytes > SMALL_SHARED_MEMORY
    small = replace(tuned, variant="small")
    message = r"sm_90, small: \d+ bytes of shared memory, expected at most 49152 \(.*d_qk=64"
    with pytest.raises(ExportError, match=message):
        compile_cached(small, architecture, "fp16", tmp_path)
    with pytest.raises(ExportError, match=message):
        compiler.compile_kernel(small, architecture, "fp16")


@given(st.integers(1, 2048), st.integers(1, 1024), st.sampled_from(list(ARCHITECTURES)))
def test_queries_of_any_width_are_held_whole_or_read_in_chunks_of_64(d_qk, d_v, name):
    for variant in VARIANTS:
        spec = position_attention.specify(attention(1024, d_qk, d_v), ARCHITECTURES[name], variant)
        held = spec.constants.get("BLOCK_QK", d_qk)  # warps with roles hold them, or do not serve
        assert held >= d_qk or held == position_attention.CHUNK_QK
        assert d_qk > 64 or held >= d_qk, "DANet's own width is never cut"


@pytest.mark.slow
def test_wide_queries_within_the_shared_memory(kept):
    for d_qk, name, variant in ((300, "sm_87", "small"), (192, "sm_86", "tuned"), (512, "sm_75", "small")):
        spec = position_attention.specify(attention(512, d_qk, 512), ARCHITECTURES[name], variant)
        compile_cached(spec, ARCHITECTURES[name], "fp16", kept)  # refuses what is too much


@pytest.mark.slow
@pytest.mark.parametrize("d_qk", [8, 96, 128, 192, 256, 512, 1000])
@pytest.mark.parametrize("name", ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"])
def test_queries_of_many_widths_within_the_shared_memory(name, d_qk, kept):
    for variant in VARIANTS:
        spec = position_attention.specify(attention(8192, d_qk, 512), ARCHITECTURES[name], variant)
        compile_cached(spec, ARCHITECTURES[name], "fp16", kept)


@pytest.mark.slow
def test_no_string_of_the_mathematical_library_is_left_in_the_code(kept):
    for name in ("sm_75", "sm_87"):
        text = compile_cached(position(32768, name), ARCHITECTURES[name], "fp16", kept).ptx
        assert not re.search(r"^\s*\.global ", text, re.MULTILINE)


@pytest.mark.parametrize("channels", [1, 32, 100])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_tile_of_channel_energies_is_no_larger_than_the_channels(name, channels):
    sizes = {"batch": 1, "channels": channels, "tokens": 1024, "slices": 2}
    for variant in VARIANTS:
        spec = channel_energy.specify(sizes, ARCHITECTURES[name], variant)
        assert spec.constants["BLOCK_C"] <= next_power_of_two(channels)
        tiles = blocks(channels, spec.constants["BLOCK_C"])
        assert spec.grid == (tiles * (tiles + 1) // 2, 2, 1)


def test_the_cache_is_used_and_a_damaged_file_is_compiled_again(tmp_path, monkeypatch):
    architecture = ARCHITECTURES["sm_87"]
    spec = upsample_argmax.specify(LABELS, architecture, "tuned")
    first = compile_cached(spec, architecture, "fp16", tmp_path)
    (file,) = tmp_path.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(cache, "compile_kernel", lambda *_: pytest.fail("compiled again"))
        assert compile_cached(spec, architecture, "fp16", tmp_path) == first
    file.write_text(file.read_text().replace("upsample_argmax_param_0", "upsample_argmax_param_9", 1))
    assert compile_cached(spec, architecture, "fp16", tmp_path) == first
    file.write_text("[]")
    assert compile_cached(spec, architecture, "fp16", tmp_path) == first


@pytest.mark.parametrize("what", ["the file", "the folder", "a link"])
def test_code_that_others_could_have_put_into_the_cache_is_compiled_again(tmp_path, what, caplog):
    """The kernel would go into a bundle and be signed with it; its hash is in the same file."""
    architecture = ARCHITECTURES["sm_87"]
    spec = upsample_argmax.specify(LABELS, architecture, "tuned")
    folder = tmp_path / "kernels"
    first = compile_cached(spec, architecture, "fp16", folder)
    (file,) = folder.iterdir()
    values = json.loads(file.read_text())
    values["ptx"] += "// of somebody else"
    values["ptx_sha256"] = hashlib.sha256(values["ptx"].encode()).hexdigest()
    file.write_text(json.dumps(values))
    assert compile_cached(spec, architecture, "fp16", folder) != first  # one's own is taken at its word
    if what == "a link":
        file.rename(tmp_path / "elsewhere")
        file.symlink_to(tmp_path / "elsewhere")
    else:
        (file if what == "the file" else folder).chmod(0o777)
    assert compile_cached(spec, architecture, "fp16", folder) == first
    assert "is not taken, since others own or can write it" in caplog.text


def test_the_cache_tells_apart_what_decides_the_code():
    def key(tokens=1024, name="sm_87", dtype="fp16", variant="tuned"):
        architecture = ARCHITECTURES[name]
        spec = position_attention.specify(attention(tokens, 64, 512), architecture, variant)
        return cache.cache_key(spec, architecture, dtype)

    keys = [key(), key(tokens=1032), key(name="sm_89"), key(dtype="bf16"), key(name="sm_90")]
    keys.append(key(name="sm_90", variant="small"))
    assert len(set(keys)) == len(keys)
    assert key() == key()


def test_the_cache_lies_in_the_users_cache_folder(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.cache_folder() == Path("/somewhere/danet/kernels")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache.cache_folder() == Path("/home/someone/.cache/danet/kernels")
