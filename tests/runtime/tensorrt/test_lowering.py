"""Which lowering is chosen, what it says, and what file it parses."""

import re
import shutil
from types import ModuleType

import pytest

from danet_runtime.bundle import Bundle, Lowerings
from danet_runtime.errors import BackendError, BundleError, UsageError
from danet_runtime.tensorrt.build.library import TensorRTLibrary
from danet_runtime.tensorrt.build.rtx_builder import build_engine
from danet_runtime.tensorrt.plugins.lowering import choose_lowering, lowered_model
from danet_runtime.tensorrt.plugins.onnx_file import function_names


def library(version, flavour="tensorrt"):
    module = ModuleType("tensorrt")
    module.__version__ = ".".join(map(str, version))
    return TensorRTLibrary(module, flavour, version)


RTX = library((1, 7, 1), "tensorrt-rtx")
JETPACK6, THOR, NEWEST = library((10, 3, 0)), library((10, 13, 3)), library((11, 4, 0))


@pytest.fixture(scope="module")
def bundle(exported_bundle):
    return Bundle.open(exported_bundle)


@pytest.fixture(scope="module")
def with_kernels(exported_bundle, kernel_adder, tmp_path_factory):
    """The exported bundle with kernels for some architectures; options are those of ``add_kernels``."""

    def make(*archs, **options):
        path = tmp_path_factory.mktemp("with-kernels") / "bundle"
        shutil.copytree(exported_bundle, path)
        return kernel_adder(Bundle.open(path), archs, **options)

    return make


def test_rtx_takes_native_and_says_why(bundle):
    chosen = choose_lowering(RTX, bundle, "fp16", None)
    assert chosen.attention == "native"
    assert "no plugins" in chosen.reason


def test_a_bundle_with_kernels_for_the_gpu_takes_the_plugin_on_every_tensorrt(with_kernels):
    held = with_kernels("sm_87", "sm_110")
    for installed in (JETPACK6, THOR, NEWEST):
        assert choose_lowering(installed, held, "fp16", "sm_87").attention == "plugin"


@pytest.mark.parametrize(
    ("arch", "options", "gpu", "wanting"),
    [
        ("sm_89", {}, {}, r"sm_87; .* holds kernels for sm_89 only.*danet export .* --kernels sm_87"),
        ("sm_87", {"operators": ("PositionAttention",)}, {}, "holds no kernel of ChannelEnergy"),
        ("sm_87", {"variants": ("tuned",)}, {"kernel_variant": "small"}, "holds fp16 tuned"),
        ("sm_87", {"dtype": "bf16"}, {}, "in fp16 tuned.*holds bf16 tuned"),
        ("sm_87", {"ptx_version": "9.0"}, {"driver_cuda": (12, 6)}, "update the driver"),
    ],
    ids=["architecture", "operator", "variant", "type", "driver"],
)
def test_where_a_kernel_is_wanting_native_is_taken_and_says_what_or_the_build_is_refused(
    with_kernels, arch, options, gpu, wanting
):
    held = with_kernels(arch, **options)
    chosen = choose_lowering(NEWEST, held, "fp16", "sm_87", **gpu)
    assert chosen.attention == "native"
    assert re.search(wanting, chosen.reason)
    for installed in (JETPACK6, THOR):
        with pytest.raises(BackendError, match=rf"{wanting}.*--attention reference"):
            choose_lowering(installed, held, "fp16", "sm_87", **gpu)


def test_what_is_asked_for_is_done_or_refused(bundle):
    assert choose_lowering(NEWEST, bundle, "fp16", "sm_90", "reference").attention == "reference"
    assert choose_lowering(JETPACK6, bundle, "fp16", "sm_87", "plugin").attention == "plugin"
    with pytest.raises(UsageError, match="no plugins"):
        choose_lowering(RTX, bundle, "fp16", None, "plugin")
    with pytest.raises(UsageError, match=r"10\.14"):
        choose_lowering(THOR, bundle, "fp16", "sm_110", "native")


def test_fp32_is_built_in_the_reference_form_and_says_so(bundle):
    chosen = choose_lowering(RTX, bundle, "fp32", None)
    assert chosen.attention == "reference"
    assert "FP32" in chosen.reason
    for asked in ("native", "plugin"):
        with pytest.raises(UsageError, match="computes in FP16"):
            choose_lowering(NEWEST, bundle, "fp32", "sm_90", asked)


def test_each_lowering_parses_its_own_file(bundle):
    names = {"PositionAttention", "ChannelEnergy", "UpsampleArgmax"}
    reference = lowered_model(NEWEST, bundle, "fp16", "reference")
    native = lowered_model(NEWEST, bundle, "fp16", "native")
    plugin = lowered_model(JETPACK6, bundle, "fp16", "plugin")
    assert {name for name, _ in function_names(reference)} == names
    assert {name for name, _ in function_names(native)} == names
    assert function_names(plugin) == []
    assert b"Attention" in native
    assert native != reference


def test_a_bundle_without_native_bodies_is_refused(bundle):
    old = Bundle(bundle.path, bundle.manifest.model_copy(update={"lowerings": Lowerings()}), bundle.sha256)
    with pytest.raises(BundleError, match="export the bundle again"):
        lowered_model(RTX, old, "fp16", "native")


def test_the_native_engine_needs_less_memory_than_the_reference(bundle):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    native, reference = (
        build_engine(lowered_model(RTX, bundle, "fp16", attention), ["sm_89"]).activation_memory_bytes
        for attention in ("native", "reference")
    )
    assert native < reference
