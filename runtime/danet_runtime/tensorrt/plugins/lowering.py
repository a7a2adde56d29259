"""Choice of the form of attention in an engine, from the abilities of the library and the bundle.

==========  ====================================================================  =======================
lowering    the custom nodes become                                               served by
==========  ====================================================================  =======================
plugin      the bundle's own kernels; the model has no function bodies            TensorRT 10.0 and later
native      standard operators that TensorRT fuses (ONNX ``Attention``)           RTX, TensorRT 10.14+
reference   standard operators that store the N x N map, for comparison           all
==========  ====================================================================  =======================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from danet_runtime.bundle.manifest import KernelVariant, Precision
from danet_runtime.bundle.operators import NAMESPACE
from danet_runtime.bundle.reader import Bundle
from danet_runtime.errors import BackendError, BundleError, UsageError
from danet_runtime.tensorrt.build.library import NATIVE_ATTENTION, TensorRTLibrary
from danet_runtime.tensorrt.kernels.kernels import select_kernels
from danet_runtime.tensorrt.kernels.ptx import Release
from danet_runtime.tensorrt.plugins.onnx_file import with_bodies
from danet_runtime.tensorrt.plugins.registration import model_for, operators_of

Attention = Literal["plugin", "native", "reference"]
ATTENTIONS: Final[tuple[Attention, ...]] = get_args(Attention)
"""In the order in which :func:`choose_lowering` prefers them; the reference only where it is asked for."""


@dataclass(frozen=True)
class Lowering:
    """The chosen form of attention, and the reason for the choice."""

    attention: Attention
    reason: str


def choose_lowering(
    library: TensorRTLibrary,
    bundle: Bundle,
    precision: Precision,
    arch: str | None,
    asked: Attention | None = None,
    kernel_variant: KernelVariant = "tuned",
    driver_cuda: Release | None = None,
) -> Lowering:
    """Choose how the attention is built.

    The plugin is taken where the bundle holds a kernel that this GPU and its driver take for every custom
    operator of the model; otherwise what is wanting becomes the reason for the native form.

    Args:
        library: Library that builds the engine.
        bundle: Bundle with the kernels and function bodies.
        precision: Variant that is built; kernels and fused attention are for FP16, and INT8 around it.
        arch: Architecture of the GPU, as ``sm_87``; ``None`` where an engine is for several.
        asked: Form of attention that the user wants; ``None``: chosen here.
        kernel_variant: Variant of the kernels, where plugins are built.
        driver_cuda: The CUDA release of the driver; unchecked where it is not given.

    Raises:
        UsageError: The library cannot do what is asked.
        BackendError: Only the reference form would work, and it was not asked for.
        BundleError: A kernel is not what the manifest says.
    """
    if asked is not None:
        _check(library, precision, asked)
        return Lowering(asked, "asked for")
    if precision == "fp32":
        return Lowering("reference", "FP32 has neither kernels nor a fused attention")
    if library.flavour == "tensorrt-rtx" or arch is None:
        return Lowering("native", "TensorRT for RTX has no plugins, and fuses Attention itself")
    model = bundle.read(bundle.variant(precision).file)
    try:
        select_kernels(
            bundle,
            arch,
            "fp16",  # of an INT8 variant too: around the custom operators it computes in FP16
            kernel_variant,
            driver_cuda=driver_cuda,
            operators=operators_of(model),
        )
    except BackendError as missing:
        if library.has_native_attention:
            return Lowering(
                "native", f"{library.title} fuses Attention itself, and no plugin fits: {missing}"
            )
        raise BackendError(
            f"{library.title} fuses no Attention, and no plugin fits: {missing}; "
            "or build the slow form with --attention reference"
        ) from missing
    return Lowering("plugin", f"the bundle has kernels for {arch}")


def _check(library: TensorRTLibrary, precision: Precision, asked: Attention) -> None:
    if precision == "fp32" and asked != "reference":
        raise UsageError(f"--attention {asked} computes in FP16 (got the fp32 variant); build fp16 or int8")
    if asked == "plugin" and library.flavour == "tensorrt-rtx":
        raise UsageError(f"{library.title} has no plugins; give --attention native or reference")
    if asked == "native" and not library.has_native_attention:
        since = ".".join(map(str, NATIVE_ATTENTION))
        raise UsageError(
            f"{library.title} does not fuse Attention, TensorRT {since} and later does; "
            "give --attention plugin or reference"
        )


def lowered_model(
    library: TensorRTLibrary, bundle: Bundle, precision: Precision, attention: Attention
) -> bytes:
    """The ONNX file to parse for a lowering.

    Raises:
        BundleError: The bundle has no native bodies.
        UsageError: The bundle does not hold the precision.
    """
    model = bundle.read(bundle.variant(precision).file)
    if attention == "reference":
        return model
    if attention == "plugin":
        return model_for(library.module.__version__, model)
    bodies = bundle.manifest.lowerings.native
    if bodies is None:
        raise BundleError(f"{bundle.path} has no lowerings/native.onnx; export the bundle again")
    return with_bodies(model, bundle.read(bodies), NAMESPACE)
