"""Which lowering is chosen, what it says, and what file it parses."""

import re
import shutil
from types import ModuleType

import pytest

from danet_runtime.bundle import Bundle, Lowerings
from danet_runtime.errors import BackendError, BundleError, UsageError
from danet_runtime.tensorrt.build.library import TensorRTLibrary
from danet_runtime.tensorrt.build.rtx_builder import build_engine
from danet_runtime.tensorrt.plugins.lowering import choose_lowerings, lowered_model, reference_memory
from danet_runtime.tensorrt.plugins.onnx_file import function_names


def library(version, flavour="tensorrt"):
    module = ModuleType("tensorrt")
    module.__version__ = ".".join(map(str, version))
    return TensorRTLibrary(module, flavour, version)


RTX = library((1, 7, 1), "tensorrt-rtx")
JETPACK6, THOR, NEWEST = library((10, 3, 0)), library((10, 13, 3)), library((11, 4, 0))
BROKEN = [library((10, 14, 1)), library((10, 15, 1))]


def forms(chosen):
    return [(step.attention, step.kernel_variant) for step in chosen.steps]


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
    chosen = choose_lowerings(RTX, bundle, "fp16", None)
    assert forms(chosen) == [("native", None)]
    assert "no plugins" in chosen.steps[0].reason


def test_with_kernels_for_the_gpu_the_plugin_comes_first_and_the_reference_never(with_kernels):
    held = with_kernels("sm_87", "sm_110")
    plugin = [("plugin", "tuned"), ("plugin", "small")]
    for installed in (JETPACK6, THOR):
        assert forms(choose_lowerings(installed, held, "fp16", "sm_87")) == plugin
    chosen = choose_lowerings(NEWEST, held, "fp16", "sm_87")
    assert forms(chosen) == [*plugin, ("native", None)]
    assert chosen.passed_over == ()


@pytest.mark.parametrize("installed", BROKEN)
def test_where_plugins_are_broken_they_are_built_only_where_they_are_asked_for(with_kernels, installed):
    held = with_kernels("sm_87")
    chosen = choose_lowerings(installed, held, "fp16", "sm_87")
    assert forms(chosen) == [("native", None)]
    assert "have a fault of its own" in chosen.steps[0].reason
    for asked in (("plugin", None), (None, "small")):
        forced = choose_lowerings(installed, held, "fp16", "sm_87", *asked)
        assert forms(forced) == [("plugin", asked[1] or "tuned")]
        assert "asked for, though plugins of TensorRT 10.1" in forced.steps[0].reason


def test_a_variant_or_bodies_that_the_bundle_lacks_are_told_and_the_others_tried(with_kernels):
    held = with_kernels("sm_87", variants=("small",))
    chosen = choose_lowerings(NEWEST, held, "fp16", "sm_87")
    assert forms(chosen) == [("plugin", "small"), ("native", None)]
    assert "holds fp16 small" in chosen.passed_over[0]
    lacking = held.manifest.model_copy(update={"lowerings": Lowerings()})
    old = Bundle(held.path, lacking, held.sha256)
    chosen = choose_lowerings(NEWEST, old, "fp16", "sm_87")
    assert forms(chosen) == [("plugin", "small")]
    assert "no lowerings/native.onnx" in chosen.passed_over[1]


@pytest.mark.parametrize(
    ("arch", "options", "gpu", "wanting"),
    [
        ("sm_89", {}, {}, r"sm_87; .* holds kernels for sm_89 only.*danet export .* --kernels sm_87"),
        ("sm_87", {"operators": ("PositionAttention",)}, {}, "holds no kernel of ChannelEnergy"),
        ("sm_87", {"dtype": "bf16"}, {}, "in fp16 tuned.*holds bf16 tuned"),
        ("sm_87", {"ptx_version": "9.0"}, {"driver_cuda": (12, 6)}, "update the driver"),
    ],
    ids=["architecture", "operator", "type", "driver"],
)
def test_where_a_kernel_is_wanting_native_is_taken_and_says_what_or_the_build_is_refused(
    with_kernels, arch, options, gpu, wanting
):
    held = with_kernels(arch, **options)
    chosen = choose_lowerings(NEWEST, held, "fp16", "sm_87", **gpu)
    assert forms(chosen) == [("native", None)]
    assert re.search(wanting, chosen.steps[0].reason)
    for installed in (JETPACK6, THOR):
        with pytest.raises(BackendError, match=rf"{wanting}.*--attention reference: its maps of 128 x 128 "):
            choose_lowerings(installed, held, "fp16", "sm_87", **gpu)


def test_what_is_asked_for_is_done_alone_or_refused(bundle):
    for asked, form in (
        (("reference", None), ("reference", None)),
        (("native", None), ("native", None)),
        (("plugin", None), ("plugin", "tuned")),
        (("plugin", "small"), ("plugin", "small")),
        ((None, "small"), ("plugin", "small")),
        ((None, "tuned"), ("plugin", "tuned")),
    ):
        assert forms(choose_lowerings(NEWEST, bundle, "fp16", "sm_90", *asked)) == [form]
    with pytest.raises(UsageError, match="no plugins"):
        choose_lowerings(RTX, bundle, "fp16", None, "plugin")
    with pytest.raises(UsageError, match=r"10\.14"):
        choose_lowerings(THOR, bundle, "fp16", "sm_110", "native")
    with pytest.raises(UsageError, match="--kernels small is of the plugin, and not of --attention native"):
        choose_lowerings(NEWEST, bundle, "fp16", "sm_90", "native", "small")
    with pytest.raises(UsageError, match="--kernels small computes in FP16"):
        choose_lowerings(NEWEST, bundle, "fp32", "sm_90", None, "small")


@pytest.mark.parametrize(
    ("tokens", "precision", "amount"),
    [(32768, "fp16", "6.0 GiB"), (32768, "fp32", "8.0 GiB"), (8192, "int8", "384.0 MiB")],
)
def test_the_memory_of_the_reference_form_is_named(tokens, precision, amount):
    # Of R-50 at 1024x2048 in FP16 TensorRT for RTX tells 6.4 GiB, all activations together.
    assert reference_memory(tokens, precision) == (f"its maps of {tokens} x {tokens} positions take {amount}")


def test_fp32_is_built_in_the_reference_form_and_says_so(bundle):
    chosen = choose_lowerings(RTX, bundle, "fp32", None)
    assert forms(chosen) == [("reference", None)]
    assert re.search("FP32 .*its maps of 128 x 128 positions take 0.1 MiB", chosen.steps[0].reason)
    for asked in ("native", "plugin"):
        with pytest.raises(UsageError, match="computes in FP16"):
            choose_lowerings(NEWEST, bundle, "fp32", "sm_90", asked)


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
