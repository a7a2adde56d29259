"""The rules of compiled PTX: each planted fault is told with its line; without it the text passes."""

import re

import pytest

from danet_export.errors import ExportError
from danet_export.kernels.ptx import PtxError, align_shared_memory, name_shared_stores
from danet_export.kernels.ptx_rules import check_rules, violations

HEAD = """.version 8.5
.target sm_90a
.address_size 64
.extern .shared .align 1024 .b8 global_smem[];
.visible .entry kernel(
	.param .u64 .ptr .global .align 1 kernel_param_0
)
.reqntid 256
{
	.reg .pred %p<3>;
	.reg .b32 %r<9>;
	ld.param.b64 %rd1, [kernel_param_0];
"""

PIPELINE = """
	cp.async.cg.shared.global [ %r1 + 0 ], [ %rd1 + 0 ], 0x10;
	cp.async.commit_group;
$L__BB0_1:                              // the loop over keys
	cp.async.wait_group 0;
	bar.sync 	0;
	fence.proxy.async.shared::cta;
	wgmma.fence.sync.aligned;
	// begin inline asm
	wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%r2,%r3}, %rd2, %rd3, 0, 1, 1, 1, 1;
	// end inline asm
	wgmma.commit_group.sync.aligned;
	wgmma.wait_group.sync.aligned 0;
	bar.sync 	0;
	st.shared::cta.v4.b32 	[%r1], {%r2, %r3, %r4, %r5};
	cp.async.cg.shared.global [ %r1 + 0 ], [ %rd1 + 0 ], 0x10;
	cp.async.commit_group;
	@%p1 bra 	$L__BB0_1;
"""


def kernel(body=PIPELINE, head=HEAD):
    return f"{head}{body}\tret;\n}}\n"


def broken(before, after, body=PIPELINE, count=1):
    assert before in body
    return violations(kernel(body.replace(before, after, count)), 256)


def test_a_pipeline_that_keeps_the_rules_passes():
    assert violations(kernel(), 256) == []
    check_rules(kernel(), 256)


def test_a_store_that_does_not_say_whose_shared_memory_is_told():
    (message,) = broken("st.shared::cta.v4", "st.shared.v4")
    assert message == "line 27: st.shared does not say ::cta"
    (message,) = broken("st.shared::cta.v4", "st.volatile.shared.v4")
    assert "st.volatile.shared does not" in message
    assert broken("st.shared::cta.v4.b32 	[%r1]", "st.global.v4.b32 	[%rd1]") == []


def test_a_product_behind_copies_without_a_proxy_fence_is_told():
    (message,) = broken("\tfence.proxy.async.shared::cta;\n", "")
    assert message.startswith("line 21: no fence.proxy.async between cp.async and wgmma.mma_async")


def test_a_fence_before_the_copies_arrive_is_none():
    moved = PIPELINE.replace("\tfence.proxy.async.shared::cta;\n", "")
    moved = moved.replace(
        "\tcp.async.wait_group 0;", "\tfence.proxy.async.shared::cta;\n\tcp.async.wait_group 0;"
    )
    assert len(violations(kernel(moved), 256)) == 1


def test_a_fence_on_one_of_two_paths_is_none():
    skipped = "\t@%p2 bra $L__BB0_2;\n\tfence.proxy.async.shared::cta;\n$L__BB0_2:\n"
    assert len(broken("\tfence.proxy.async.shared::cta;\n", skipped)) == 1


def test_a_fault_that_only_the_next_iteration_meets_is_told():
    late = PIPELINE.replace(
        "\tcp.async.wait_group 0;\n\tbar.sync 	0;\n\tfence.proxy.async.shared::cta;\n", ""
    )
    late = late.replace("\t@%p1 bra", "\tcp.async.wait_group 0;\n\tbar.sync 0;\n\t@%p1 bra")
    assert len(violations(kernel(late), 256)) == 1


WARPS = """
	@%p1 bra 	$L_consumer;
	cp.async.cg.shared.global [ %r1 + 0 ], [ %rd1 + 0 ], 0x10;
	cp.async.mbarrier.arrive.noinc.shared.b64 [%r1];
	ret;
$L_consumer:
	{
	.reg .pred complete;
	waitLoop:
	mbarrier.try_wait.parity.shared.b64 complete, [%r1], %r2;
	@!complete bra.uni waitLoop;
	}
	fence.proxy.async.shared::cta;
	wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%r2,%r3}, %rd2, %rd3, 0, 1, 1, 1, 1;
	{
	.reg .pred complete;
	waitLoop:
	mbarrier.try_wait.parity.shared.b64 complete, [%r1], %r2;
	@!complete bra.uni waitLoop;
	}
"""


def test_copies_that_an_mbarrier_tells_of_need_the_fence_too():
    assert violations(kernel(WARPS), 256) == []
    (message,) = broken("\tfence.proxy.async.shared::cta;\n", "", WARPS)
    assert "no fence.proxy.async" in message
    alone = WARPS.replace("\tcp.async.mbarrier.arrive.noinc.shared.b64 [%r1];\n", "")
    assert broken("\tfence.proxy.async.shared::cta;\n", "", alone) == [], (
        "nobody copies for the one who waits"
    )


def test_a_store_behind_a_wait_for_products_without_a_barrier_is_told():
    (message,) = broken("aligned 0;\n\tbar.sync 	0;\n", "aligned 0;\n")
    assert message == "line 26: no barrier between a wait for wgmma and st.shared::cta.v4.b32"
    warp_alone = broken("aligned 0;\n\tbar.sync 	0;\n", "aligned 0;\n\tbar.warp.sync -1;\n")
    assert len(warp_alone) == 1
    matrix = PIPELINE.replace("st.shared::cta.v4.b32", "stmatrix.sync.aligned.m8n8.x4.shared.b16")
    assert "and stmatrix" in broken("aligned 0;\n\tbar.sync 	0;\n", "aligned 0;\n", matrix)[0]


def test_a_table_of_branches_is_followed():
    switch = "$L_table: .branchtargets $L_a, $L_b;\n\tbrx.idx %r2, $L_table;\n$L_a:\n\tbar.sync 0;\n$L_b:\n"
    assert len(broken("aligned 0;\n\tbar.sync 	0;\n", f"aligned 0;\n{switch}")) == 1
    both = switch.replace("$L_b:\n", "$L_b:\n\tbar.sync 0;\n")
    assert broken("aligned 0;\n\tbar.sync 	0;\n", f"aligned 0;\n{both}") == []


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (".extern .shared .align 16 .b8 global_smem[];", "aligned to 16, not to 1024"),
        (".shared .align 8 .b8 before[64];\n.extern .shared .align 1024 .b8 global_smem[];", "static shared"),
    ],
)
def test_shared_memory_that_matrix_units_would_misread_is_told(declared, message):
    (found,) = violations(
        kernel(head=HEAD.replace(".extern .shared .align 1024 .b8 global_smem[];", declared)), 256
    )
    assert message in found
    without = re.sub(r"\twgmma\.mma_async[^;]*;\n", "", kernel(head=HEAD.replace("1024", "16")))
    assert violations(without, 256) == []


@pytest.mark.parametrize("clause", ["", ".reqntid 128\n", ".reqntid 256, 2, 1\n", ".maxntid 256\n"])
def test_a_block_that_is_not_the_launchs_is_told(clause):
    (message,) = violations(kernel(head=HEAD.replace(".reqntid 256\n", clause)), 256)
    assert message.startswith(".reqntid is")
    assert violations(kernel(head=HEAD.replace(".reqntid 256", ".reqntid 256, 1, 1")), 256) == []


def test_each_fault_is_named_in_one_error():
    text = kernel(PIPELINE.replace("\tfence.proxy.async.shared::cta;\n", "").replace("::cta.v4", ".v4"))
    with pytest.raises(PtxError, match=r"breaks 2 rules: line 26: st\.shared .*; line 21: no fence"):
        check_rules(text, 256)


@pytest.mark.parametrize("text", ["", kernel("\tbra $L_nowhere;\n"), kernel()[:-3]])
def test_text_that_cannot_be_followed_is_refused(text):
    with pytest.raises(PtxError, match="expected"):
        check_rules(text, 256)


def test_stores_are_named_where_the_form_allows_it_and_nothing_else_changes():
    body = (
        "\t@%p1 st.shared.v4.b16 [%r1], {%rs1, %rs2, %rs3, %rs4};\n\tst.volatile.shared.b32 [%r1], %r2;\n"
        "\tst.shared::cluster.b32 [%r1], %r2;\n\tstmatrix.sync.aligned.m8n8.x4.shared.b16 [%r1], {%r2};\n"
        "\tld.shared.b32 %r2, [%r1];\n\tst.global.b32 [%rd1], %r2;\n"
    )
    named = name_shared_stores(kernel(body))
    assert named == kernel(
        body.replace("st.shared.v4", "st.shared::cta.v4").replace("volatile.shared", "volatile.shared::cta")
    )
    assert name_shared_stores(named) == named
    old = kernel(body).replace(".version 8.5", ".version 7.7")
    assert name_shared_stores(old) == old


def test_shared_memory_is_aligned_for_the_matrix_units_and_for_them_alone():
    text = kernel(head=HEAD.replace("1024", "16"))
    assert align_shared_memory(text) == kernel()
    assert align_shared_memory(kernel()) == kernel()
    plain = kernel("", HEAD.replace("1024", "16"))
    assert align_shared_memory(plain) == plain


PLANTED = {
    "a fence": (r"\tfence\.proxy\.async[^\n]*\n", "", "no fence.proxy.async"),
    "a store": (r"st\.shared::cta\.", "st.shared.", "does not say ::cta"),
    "barriers": (r"\tbar\.sync[^\n]*\n", "", "no barrier"),
    "the alignment": (r"\.align 1024", ".align 16", "aligned to 16"),
    "the block": (r"\.reqntid 256", ".reqntid 64", ".reqntid is 64"),
}


@pytest.mark.slow  # the texts above cover each rule; this one shows that Triton's own code is read
def test_faults_in_hoppers_own_kernel_are_told(tmp_path, monkeypatch):
    pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")
    from danet_export.kernels import compiler, position_attention
    from danet_export.kernels.architectures import ARCHITECTURES
    from danet_export.kernels.cache import compile_cached

    sizes = {"batch": 1, "tokens": 1024, "d_qk": 64, "d_v": 256}
    spec = position_attention.specify(sizes, ARCHITECTURES["sm_90"], "small")
    compiled = compile_cached(spec, ARCHITECTURES["sm_90"], "fp16", tmp_path)
    threads = compiled.block[0]
    check_rules(compiled.ptx, threads)
    for name, (pattern, planted, message) in PLANTED.items():
        text, count = re.subn(pattern.replace("256", str(threads)), planted, compiled.ptx)
        assert count, name
        assert any(message in found for found in violations(text, threads)), name
    monkeypatch.setattr(compiler.ptx_text, "name_shared_stores", lambda text: text)
    with pytest.raises(ExportError, match=r"for sm_90: the PTX breaks \d+ rules: line \d+: st"):
        compiler.compile_kernel(spec, ARCHITECTURES["sm_90"], "fp16")
