"""Choosing kernels: verified, of this GPU's architecture, of a driver that reads them; or told what to do."""

from __future__ import annotations

import pytest
from ptx_machine.driver import ExecutingCuda

from danet_runtime.bundle.operators import OPERATORS, output_shape
from danet_runtime.errors import BackendError, BundleError, IntegrityError
from danet_runtime.tensorrt.cuda.driver import CudaDriver
from danet_runtime.tensorrt.kernel_check import kernels_for
from danet_runtime.tensorrt.kernels import kernels
from danet_runtime.tensorrt.kernels.kernels import check_device, select_kernels
from danet_runtime.tensorrt.kernels.ptx import newest_ptx, oldest_cuda, read_header
from danet_runtime.tensorrt.kernels.shape_check import check_shapes

POSITION = [(1, 8, 6, 8), (1, 8, 6, 8), (1, 32, 6, 8), (1, 32, 6, 8)]
UPSAMPLE = {"height": 48, "width": 64, "align_corners": 0}


def kernel_of(bundle, operator):
    return next(kernel for kernel in bundle.manifest.kernels if kernel.operator == operator)


def test_each_operator_gets_the_kernel_of_the_gpu_and_variant_with_its_code(kernel_bundle):
    bundle = kernel_bundle("sm_87", "sm_89")
    found = select_kernels(bundle, "sm_89", "fp16", "small", driver_cuda=(12, 6))
    assert set(found) == set(OPERATORS)
    for operator, loaded in found.items():
        assert (loaded.kernel.operator, loaded.kernel.arch) == (operator, "sm_89")
        assert loaded.kernel.shared_memory_bytes <= 49152
        assert loaded.ptx == bundle.read(loaded.kernel.ptx)


def test_code_with_instructions_of_one_architecture_only_serves_that_architecture(kernel_bundle):
    found = select_kernels(kernel_bundle("sm_90a"), "sm_90", "fp16")
    assert found["ChannelEnergy"].kernel.arch == "sm_90a"


def test_an_architecture_without_kernels_is_told_with_those_that_exist_and_the_command(kernel_bundle):
    with pytest.raises(BackendError) as error:
        select_kernels(kernel_bundle("sm_87", "sm_89"), "sm_110", "fp16")
    message = str(error.value)
    assert "this GPU is sm_110" in message
    assert "kernels for sm_87, sm_89 only" in message
    assert "danet export" in message
    assert "--kernels sm_110" in message


def test_a_bundle_without_kernels_is_told_with_the_command_and_the_way_without(bundle):
    with pytest.raises(BackendError, match=r"this GPU is sm_87.*no attention kernels.*--kernels sm_87"):
        select_kernels(bundle, "sm_87", "fp16")


def test_a_missing_type_variant_or_operator_is_told_with_what_is_there(kernel_bundle):
    bundle = kernel_bundle(variants=("tuned",), operators=("PositionAttention", "UpsampleArgmax"))
    with pytest.raises(
        BackendError, match=r"ChannelEnergy for sm_87; .* only kernels of PositionAttention, Up"
    ):
        select_kernels(bundle, "sm_87", "fp16")
    for dtype, variant in (("bf16", "tuned"), ("fp16", "small")):
        with pytest.raises(BackendError, match=f"in {dtype} {variant}.* holds fp16 tuned"):
            select_kernels(bundle, "sm_87", dtype, variant)


def test_two_kernels_for_one_purpose_are_refused(kernel_bundle):
    with pytest.raises(BundleError, match=r"expected one kernel.*tuned\.ptx, .*small\.ptx"):
        select_kernels(kernel_bundle(variant="tuned"), "sm_87", "fp16")


def test_changed_code_is_refused(kernel_bundle):
    bundle = kernel_bundle()
    file = bundle.path / bundle.manifest.kernels[0].ptx.path
    file.write_bytes(file.read_bytes().replace(b"ret;", b"nop;"))
    with pytest.raises(IntegrityError, match="expected sha256"):
        select_kernels(bundle, "sm_87", "fp16")


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (lambda write: lambda arch, *rest: write("sm_80", *rest), r"says sm_87, the file's .target is sm_80"),
        (lambda write: lambda arch, _, *rest: write(arch, "9.4", *rest), r"says PTX 8.5, .* is 9.4"),
        (
            lambda write: lambda a, v, _, count: write(a, v, "other", count),
            r"expected the entry .*found other",
        ),
        (lambda write: lambda *most, count=0: write(*most[:3], most[3] + 2), r"expected 5 pointers.*found 7"),
        (lambda write: lambda *_: "no code", r"found no .version, .target, .entry"),
    ],
    ids=["target", "version", "entry", "scratch pointers", "no PTX"],
)
def test_code_that_is_not_what_the_manifest_says_is_refused(kernel_bundle, ptx_writer, wrong, complaint):
    with pytest.raises(BundleError, match=complaint):
        select_kernels(kernel_bundle(ptx=wrong(ptx_writer)), "sm_87", "fp16")


def test_binary_data_is_no_ptx():
    with pytest.raises(BundleError, match="binary data"):
        read_header(b"\x7fELF\x80\xff", "x.ptx")


def test_code_newer_than_the_driver_is_refused_before_a_launch(kernel_bundle):
    bundle = kernel_bundle(ptx_version="9.0")
    with pytest.raises(BackendError) as error:
        select_kernels(bundle, "sm_87", "fp16", driver_cuda=(12, 6))
    assert "driver (CUDA 12.6) reads PTX up to 8.5" in str(error.value)
    assert "is PTX 9.0; update the driver to one of CUDA 13.0 or later" in str(error.value)
    assert select_kernels(bundle, "sm_87", "fp16", driver_cuda=(13, 0))


def test_where_an_export_would_write_the_same_ptx_again_it_is_not_named_as_the_remedy(kernel_bundle):
    with pytest.raises(
        BackendError, match=r"update the driver to .*12\.5 or later, or build without kernels"
    ):
        select_kernels(kernel_bundle(), "sm_87", "fp16", driver_cuda=(12, 4))
    with pytest.raises(BackendError, match=r"13\.0 or later, or export the bundle again .*--kernels sm_87`$"):
        select_kernels(kernel_bundle(ptx_version="9.0"), "sm_87", "fp16", driver_cuda=(12, 6))


def test_an_architecture_that_no_kernel_can_be_made_for_is_told_the_way_without(kernel_bundle, bundle):
    for held in (kernel_bundle(), bundle):
        with pytest.raises(BackendError) as error:
            select_kernels(held, "sm_103", "fp16")
        assert "danet build --attention native" in str(error.value)
        assert "compiles kernels for sm_75, sm_80" in str(error.value)
        assert "--kernels sm_103" not in str(error.value)


def test_the_command_that_is_named_makes_the_kernels_that_are_wanted(kernel_bundle):
    with pytest.raises(BackendError, match=r"--kernels sm_87 --kernel-dtype bf16`$"):
        select_kernels(kernel_bundle(), "sm_87", "bf16")
    with pytest.raises(BackendError, match=r"take the fp16 kernels: sm_75 has no BF16"):
        select_kernels(kernel_bundle("sm_75"), "sm_75", "bf16")
    with pytest.raises(BackendError, match=r"names the sizes N .*--kernels sm_90`$"):
        check_shapes(kernel_of(kernel_bundle("sm_90a", shape={"N": 48}), "PositionAttention"), POSITION, {})


def test_another_architecture_is_refused_before_a_launch(kernel_bundle):
    kernel = kernel_bundle().manifest.kernels[0]
    with pytest.raises(BackendError, match=r"architecture sm_110, .* compiled for sm_87.*--kernels sm_110"):
        check_device(kernel, "sm_110", None)


def test_what_a_driver_reads_follows_nvidias_table():
    assert newest_ptx((12, 6)) == (8, 5)
    assert newest_ptx((13, 0)) == (9, 0)
    assert newest_ptx((14, 2)) == (9, 4)  # newer than the table: at least its last entry
    assert oldest_cuda((8, 6)) == (12, 7)
    assert oldest_cuda((12, 0)) is None
    with pytest.raises(BackendError, match=r"CUDA 11\.4"):
        newest_ptx((11, 4))


def test_nvidias_own_table_agrees():
    utilities = pytest.importorskip("cuda.bindings.utils", reason="cuda-python is not installed")
    for cuda, ptx in [
        ((12, 0), "8.0"),
        ((12, 5), "8.5"),
        ((12, 7), "8.6"),
        ((12, 9), "8.8"),
        ((13, 0), "9.0"),
    ]:
        needed = utilities.get_minimal_required_cuda_ver_from_ptx_ver(ptx)
        assert (needed // 1000, needed % 1000 // 10) == cuda
        assert ".".join(map(str, newest_ptx(cuda))) == ptx


def test_the_networks_shapes_must_be_the_kernels(kernel_bundle):
    bundle = kernel_bundle()
    attention = kernel_of(bundle, "PositionAttention")
    check_shapes(attention, POSITION, {})
    check_shapes(kernel_of(bundle, "ChannelEnergy"), [(1, 32, 6, 8)], {"slices": 4})
    check_shapes(kernel_of(bundle, "UpsampleArgmax"), [(1, 4, 6, 8)], UPSAMPLE)
    other = [(*shape[:3], 9) for shape in POSITION]
    with pytest.raises(BackendError, match=r"tokens=54 \(kernel: 48\).*--kernels sm_87"):
        check_shapes(attention, other, {})
    with pytest.raises(BackendError, match=r"align_corners=1 \(kernel: 0\)"):
        check_shapes(kernel_of(bundle, "UpsampleArgmax"), [(1, 4, 6, 8)], {**UPSAMPLE, "align_corners": 1})


@pytest.mark.parametrize(
    ("shapes", "complaint"),
    [
        ([*POSITION[:3], (1, 16, 6, 8)], "expects q and k of one shape"),
        (POSITION[:3], "expects the inputs q, k, v, x"),
        ([(1, 8, 48), *POSITION[1:]], "each \\(batch, channels, height, width\\)"),
        ([(-1, 8, 6, 8)] * 2 + [(-1, 32, 6, 8)] * 2, "expects fixed shapes"),
    ],
    ids=["unequal", "one short", "rank 3", "dynamic"],
)
def test_shapes_that_the_operator_does_not_take_are_refused(kernel_bundle, shapes, complaint):
    with pytest.raises(BackendError, match=complaint):
        check_shapes(kernel_of(kernel_bundle(), "PositionAttention"), shapes, {})


def test_a_kernel_for_padded_rows_is_for_them_alone(kernel_bundle):
    padded = [(1, 8, 1, 128), (1, 8, 1, 128), (1, 32, 1, 128), (1, 32, 6, 8)]
    sizes = {"batch": 1, "tokens": 48, "pitch": 128, "d_qk": 8, "d_v": 32}
    kernel = kernel_of(kernel_bundle(shape=sizes), "PositionAttention")
    check_shapes(kernel, padded, {})
    with pytest.raises(BackendError, match="do not belong together"):
        check_shapes(kernel, POSITION, {})
    with pytest.raises(BackendError, match="do not belong together"):
        check_shapes(kernel_of(kernel_bundle(), "PositionAttention"), padded, {})
    with pytest.raises(BackendError, match=r"pitch=256 \(kernel: 128\)"):
        check_shapes(kernel, [*((*shape[:3], 256) for shape in padded[:3]), padded[3]], {})


def test_missing_attributes_and_unknown_sizes_are_refused(kernel_bundle):
    bundle = kernel_bundle()
    with pytest.raises(BackendError, match="none called height, width, align_corners"):
        check_shapes(kernel_of(bundle, "UpsampleArgmax"), [(1, 4, 6, 8)], {})
    odd = kernel_bundle(shape={"N": 48})
    with pytest.raises(BackendError, match="names the sizes N of PositionAttention, expected batch, d_qk"):
        check_shapes(kernel_of(odd, "PositionAttention"), POSITION, {})


def test_outputs_have_the_shapes_that_the_operators_define():
    assert output_shape(OPERATORS["PositionAttention"], POSITION, {}) == (1, 32, 6, 8)
    assert output_shape(OPERATORS["ChannelEnergy"], [(2, 32, 6, 8)], {"slices": 4}) == (2, 4, 32, 32)
    assert output_shape(OPERATORS["UpsampleArgmax"], [(1, 4, 6, 8)], UPSAMPLE) == (1, 48, 64)


def test_a_kernel_that_is_asked_for_again_and_again_is_hashed_once(kernel_bundle, monkeypatch):
    loaded = select_kernels(kernel_bundle(), "sm_87", "fp16")["ChannelEnergy"]
    hashed = []
    monkeypatch.setattr(kernels, "sha256_of", lambda code: hashed.append(code) or "a hash")
    driver = CudaDriver(ExecutingCuda("sm_87", 163 << 10))
    found = [driver.load(loaded) for _ in range(3)]  # a plugin does, at each new address
    assert found[0] is found[1] is found[2]
    assert hashed == [loaded.ptx]


def test_the_kernels_that_are_checked_are_all_that_serve_the_gpu_and_none_is_refused(kernel_bundle):
    held = kernel_bundle("sm_87", "sm_89", operators=("ChannelEnergy", "UpsampleArgmax"))
    found = kernels_for(held, "sm_87", (12, 6))
    assert [(one.kernel.operator, one.kernel.variant) for one in found] == [
        *(("ChannelEnergy", "tuned"), ("UpsampleArgmax", "tuned")),
        *(("ChannelEnergy", "small"), ("UpsampleArgmax", "small")),
    ]
    with pytest.raises(BackendError, match=r"this GPU is sm_110; .* holds kernels for sm_87, sm_89 only"):
        kernels_for(held, "sm_110", (13, 0))
