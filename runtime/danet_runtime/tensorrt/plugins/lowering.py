"""Choice of the forms of attention that are tried, from the abilities of the library and the bundle.

==========  ====================================================================  =======================
lowering    the custom nodes become                                               served by
==========  ====================================================================  =======================
plugin      the bundle's own kernels; the model has no function bodies            TensorRT 10.0 and later [1]
native      standard operators that TensorRT fuses (ONNX ``Attention``)           RTX, TensorRT 10.14+
reference   standard operators that store the N x N map, for comparison           all
==========  ====================================================================  =======================

[1] Not 10.14 and 10.15, whose plugins are broken, unless they are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
"""In the order in which :func:`choose_lowerings` prefers them; the reference only where it is asked for."""


_TITLES: Final[dict[Attention, str]] = {
    "plugin": "the plugin",
    "native": "TensorRT's own attention",
    "reference": "the reference form",
}


@dataclass(frozen=True)
class Lowering:
    """A form of the attention.

    Attributes:
        attention: How the custom nodes are built.
        reason: Why it is tried.
        kernel_variant: Variant of the plugin's kernels; ``None`` for the other forms.
    """

    attention: Attention
    reason: str
    kernel_variant: KernelVariant | None = None

    @property
    def title(self) -> str:
        """Name in messages."""
        kernels = f" with {self.kernel_variant} kernels" if self.kernel_variant else ""
        return _TITLES[self.attention] + kernels

    @property
    def option(self) -> str:
        """The option of `danet build` that asks for it alone."""
        if self.kernel_variant is not None:
            return f"--kernels {self.kernel_variant}"
        return f"--attention {self.attention}"


@dataclass(frozen=True)
class Lowerings:
    """The forms of attention that are tried, one after the other.

    Attributes:
        steps: At least one.
        passed_over: Forms that cannot be tried, each with the reason.
    """

    steps: tuple[Lowering, ...]
    passed_over: tuple[str, ...] = ()


def choose_lowerings(
    library: TensorRTLibrary,
    bundle: Bundle,
    precision: Precision,
    arch: str | None,
    asked: Attention | None = None,
    kernel_variant: KernelVariant | None = None,
    driver_cuda: Release | None = None,
) -> Lowerings:
    """Choose how the attention may be built: the plugin tuned, the plugin small, and TensorRT's own.

    A variant of the plugin is tried where the bundle holds a kernel that this GPU and its driver take for
    every custom operator of the model; otherwise what is wanting is told. The reference form is never among
    them unless it is asked for.

    Args:
        library: Library that builds the engine.
        bundle: Bundle with the kernels and function bodies.
        precision: Variant that is built; kernels and fused attention are for FP16, and INT8 around it.
        arch: Architecture of the GPU, as ``sm_87``; ``None`` where an engine is for several.
        asked: Form of attention that the user wants, alone; ``None``: chosen here.
        kernel_variant: Variant of the plugin's kernels that the user wants, alone; ``None``: chosen here.
        driver_cuda: The CUDA release of the driver; unchecked where it is not given.

    Raises:
        UsageError: The library cannot do what is asked.
        BackendError: Only the reference form would work, and it was not asked for.
        BundleError: A kernel is not what the manifest says.
    """
    memory = reference_memory(bundle.manifest.model.tokens, precision)
    if asked is not None or kernel_variant is not None:
        wanted = asked or "plugin"
        _check(library, precision, wanted, kernel_variant)
        return Lowerings((_forced(library, wanted, kernel_variant, memory),))
    if precision == "fp32":
        reason = f"FP32 has neither kernels nor a fused attention; {memory}"
        return Lowerings((Lowering("reference", reason),))
    native = Lowering("native", f"{library.title} fuses Attention itself")
    if library.flavour == "tensorrt-rtx" or arch is None:
        return Lowerings((replace(native, reason=f"{_WITHOUT_PLUGINS}, and fuses Attention itself"),))
    if library.has_faulty_plugins:
        reason = f"plugins of {library.title} have a fault of its own, and it fuses Attention itself"
        return Lowerings((replace(native, reason=reason),))
    steps, missing = _plugin_steps(library, bundle, precision, arch, driver_cuda)
    passed_over = [f"the plugin: {why}" for why in dict.fromkeys(missing)]
    if library.has_native_attention:
        if not steps:
            native = replace(native, reason=f"{native.reason}, and no plugin fits: {missing[0]}")
        if not steps or bundle.manifest.lowerings.native is not None:
            steps.append(native)
        else:
            passed_over.append(f"{native.title}: the bundle has no lowerings/native.onnx; export it again")
    if not steps:
        raise BackendError(
            f"{library.title} fuses no Attention, and no plugin fits: {missing[0]}; "
            f"or build the slow form with --attention reference: {memory}"
        )
    return Lowerings(tuple(steps), tuple(passed_over))


def reference_memory(tokens: int, precision: Precision) -> str:
    """The memory that the reference form takes for its maps alone, in words.

    Energies are FP32 in every precision; the softmax is of the network's own type (two bytes in INT8 too).

    Args:
        tokens: Positions of the position attention, N.
        precision: Variant that is built.
    """
    mebibytes = tokens**2 * (8 if precision == "fp32" else 6) / 2**20
    amount = f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.1f} MiB"
    return f"its maps of {tokens} x {tokens} positions take {amount}"


_WITHOUT_PLUGINS: Final = "TensorRT for RTX has no plugins"


def _plugin_steps(
    library: TensorRTLibrary, bundle: Bundle, precision: Precision, arch: str, driver_cuda: Release | None
) -> tuple[list[Lowering], list[str]]:
    """The variants of the plugin that the bundle holds for a GPU, and why others are not among them."""
    operators = operators_of(bundle.read(bundle.variant(precision).file))
    reasons: dict[KernelVariant, str] = {
        "tuned": f"the bundle has kernels for {arch}",
        "small": "its kernels need at most 48 KiB of shared memory",
    }
    steps, missing = [], []
    for variant, reason in reasons.items():
        try:
            select_kernels(
                bundle,
                arch,
                "fp16",  # of an INT8 variant too: around the custom operators it computes in FP16
                variant,
                driver_cuda=driver_cuda,
                operators=operators,
            )
        except BackendError as error:
            missing.append(str(error))
        else:
            steps.append(Lowering("plugin", reason, variant))
    return steps, missing


def _forced(
    library: TensorRTLibrary, asked: Attention, kernel_variant: KernelVariant | None, memory: str
) -> Lowering:
    if asked == "reference":
        return Lowering(asked, f"asked for; {memory}")
    if asked == "native":
        return Lowering(asked, "asked for")
    doubt = f", though plugins of {library.title} have a fault of its own" * library.has_faulty_plugins
    return Lowering(asked, f"asked for{doubt}", kernel_variant or "tuned")


def _check(
    library: TensorRTLibrary, precision: Precision, asked: Attention, kernel_variant: KernelVariant | None
) -> None:
    if kernel_variant is not None and asked != "plugin":
        raise UsageError(
            f"--kernels {kernel_variant} is of the plugin, and not of --attention {asked}; leave one out"
        )
    if precision == "fp32" and asked != "reference":
        form = f"--attention {asked}" if kernel_variant is None else f"--kernels {kernel_variant}"
        raise UsageError(f"{form} computes in FP16 (got the fp32 variant); build fp16 or int8")
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
