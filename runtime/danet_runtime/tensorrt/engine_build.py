"""One engine from a bundle: the exact request for it, and its build.

The same for TensorRT on the device and TensorRT for RTX ahead of time; what differs is the targets, the
plugins and the timing cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from danet_runtime.bundle.manifest import KernelVariant, Precision
from danet_runtime.bundle.reader import Bundle
from danet_runtime.errors import UsageError
from danet_runtime.files.atomic import sha256_of
from danet_runtime.machine import free_memory_bytes, package_version
from danet_runtime.tensorrt.build.builder import (
    BuilderOptions,
    BuiltEngine,
    NetworkSetup,
    Progress,
    build_plan,
)
from danet_runtime.tensorrt.build.layers import require_int8
from danet_runtime.tensorrt.build.library import Flavour, TensorRTLibrary, load_library
from danet_runtime.tensorrt.build.rtx_builder import target_setter
from danet_runtime.tensorrt.cuda.device import Device, device_if_any, this_device, this_platform
from danet_runtime.tensorrt.cuda.driver import cuda_driver
from danet_runtime.tensorrt.kernel_check import check_kernels, require_right
from danet_runtime.tensorrt.kernels.kernels import select_kernels
from danet_runtime.tensorrt.kernels.ptx import Release
from danet_runtime.tensorrt.plugins.lowering import (
    Attention,
    Lowering,
    Lowerings,
    choose_lowerings,
    lowered_model,
    reference_memory,
)
from danet_runtime.tensorrt.plugins.registration import (
    build_without_plugins,
    operators_of,
    register_plugins,
)
from danet_runtime.tensorrt.store.manifest import EngineRequest
from danet_runtime.tensorrt.store.timing_cache import TimingCache


@dataclass(frozen=True)
class EngineBuild:
    """An engine that can be built here; use :func:`plan_build`.

    Attributes:
        bundle: Bundle that it is built from.
        library: Library that builds it.
        lowering: Form in which the attention is built, and the reason.
        request: Everything that decides what the builder makes.
        device: This machine's GPU, if there is one.
        model: The ONNX file as it is parsed.
        configure: Function that sets the targets on the builder's configuration; ``None``: not needed.
        driver_cuda: The CUDA release of the driver, where there is one.
        passed_over: Forms of the attention that failed before, each with the reason.
    """

    bundle: Bundle
    library: TensorRTLibrary
    lowering: Lowering
    request: EngineRequest
    device: Device | None
    model: bytes
    configure: Callable[[Any], None] | None
    driver_cuda: Release | None
    passed_over: tuple[str, ...] = ()

    @property
    def runs_here(self) -> bool:
        """Whether this machine's GPU is one that the engine is for."""
        return self.device is not None and self.device.gpu.arch in self.request.targets

    def build(self, folder: Path, progress: Progress | None = None) -> BuiltEngine:
        """Build the engine; nothing is stored but timings.

        Args:
            folder: Folder of the engines and of the layer timings.
            progress: Receives the progress of the builder.

        Raises:
            BackendError: The model cannot be parsed or built; the message holds what the library said. Or an
                INT8 variant became an engine without INT8 convolutions.
            BundleError: A kernel is not what the manifest says.
        """
        flags = self.library.network_flags
        failures: list[str] = []
        if self.request.attention == "plugin":
            registration = register_plugins(
                self.library.module,
                self.bundle,
                self.request.targets[0],
                "fp16",  # of an INT8 variant too: around the custom operators it computes in FP16
                self.request.kernel_variant or "tuned",
                driver_cuda=self.driver_cuda,
                operators=operators_of(self.model),
            )
            flags, failures = registration.network_flags, registration.failures
        elif self.library.flavour == "tensorrt":
            build_without_plugins(self.library.module)
        timings = None
        if self.library.keeps_timing_cache and self.request.gpu is not None:
            timings = TimingCache(folder, self.library, self.request.gpu)
        int8 = self.request.precision == "int8"
        built = build_plan(
            self.library,
            self.model,
            NetworkSetup(
                flags,
                self.configure,
                failures,
                workspace_bytes=self._workspace_bytes(),
                full_fp32=self.request.precision == "fp32",
            ),
            progress,
            options=self.request.options,
            timings=timings,
            list_layers=int8,
        )
        if int8:
            require_int8(built.convolutions, self.request.conv_mac_share_int8)
        return replace(built, passed_over=self.passed_over)

    def check_kernels(self) -> None:
        """Launch the plugin's kernels alone on this machine's GPU; nothing for the other forms.

        Raises:
            BackendError: One of them computes wrongly, or the driver refuses it.
            BundleError: A kernel is not what the manifest says.
            FaultError: One of them lost the GPU.
        """
        if self.request.attention != "plugin":
            return
        kernels = select_kernels(
            self.bundle,
            self.request.targets[0],
            "fp16",
            self.request.kernel_variant or "tuned",
            driver_cuda=self.driver_cuda,
            operators=operators_of(self.model),
        )
        require_right(check_kernels(kernels.values()))

    def _workspace_bytes(self) -> int | None:
        """Half of what is free, where the GPU shares the host's memory; elsewhere there is no limit.

        Without one the builder tries kernels with as much scratch memory as there is, which everything else
        on that machine needs too (NVIDIA/TensorRT#4258).
        """
        if self.request.gpu is None or not cuda_driver().is_integrated(0):
            return None
        free = free_memory_bytes()
        return None if free is None else free // 2


@dataclass(frozen=True)
class BuildPlan:
    """An engine in all forms that may be tried; use :func:`plan_build`.

    Attributes:
        lowerings: The forms, in their order.
        make: Settles one of them.
        machine: Versions and GPU, for whoever has to be told of a failure.
        reference: The memory of the form that is not among them, in words.
    """

    lowerings: Lowerings
    make: Callable[[Lowering], EngineBuild]
    machine: str
    reference: str

    @property
    def first(self) -> EngineBuild:
        """The form that is tried first."""
        return self.make(self.lowerings.steps[0])


def plan_build(
    bundle: Bundle,
    precision: Precision,
    flavour: Flavour,
    *,
    targets: Sequence[str] = (),
    asked: Attention | None = None,
    kernel_variant: KernelVariant | None = None,
    options: BuilderOptions | None = None,
) -> BuildPlan:
    """Settle what is to be built, without building it.

    Args:
        bundle: Holds the model, and the kernels where plugins are used.
        precision: Variant of the bundle to build.
        flavour: TensorRT for this machine's GPU, or TensorRT for RTX for the targets.
        targets: GPU architectures as ``sm_89``, for TensorRT for RTX alone; this GPU's where none is given.
        asked: Form of attention to build, and no other; ``None``: chosen, and another where one fails.
        kernel_variant: Variant of the plugin's kernels to build, and no other form; ``small`` needs at most
            48 KiB of shared memory.
        options: Limits and effort of the builder; its defaults where they are not given.

    Raises:
        UsageError: The options contradict each other, or the bundle does not hold the precision.
        MissingDependencyError: The library is not installed, or cuda-python where a GPU is needed.
        BackendError: There is no GPU, and it takes one; or no lowering serves.
        BundleError: The bundle lacks kernels or bodies, or they are not what was written.
    """
    variant = bundle.variant(precision)
    on_device = flavour == "tensorrt"
    if on_device and targets:
        raise UsageError("tensorrt builds for the GPU of this machine; leave the target out")
    library = load_library(flavour)
    device = device_if_any() if targets else this_device()
    archs = tuple(sorted(set(targets))) or ((device.gpu.arch,) if device is not None else ())
    configure = None if on_device else target_setter(archs)
    driver_cuda = cuda_driver().cuda_release() if on_device else None
    lowerings = choose_lowerings(
        library, bundle, precision, archs[0] if on_device else None, asked, kernel_variant, driver_cuda
    )
    danet = package_version("danet-runtime") or "unknown"

    def make(lowering: Lowering) -> EngineBuild:
        model = lowered_model(library, bundle, precision, lowering.attention)
        request = EngineRequest(
            bundle_sha256=bundle.sha256,
            model_sha256=variant.file.sha256,
            parsed_sha256=sha256_of(model),
            precision=precision,
            conv_mac_share_int8=bundle.conv_mac_share_int8(precision),
            attention=lowering.attention,
            kernel_variant=lowering.kernel_variant,
            library=flavour,
            library_version=library.module.__version__,
            targets=archs,
            gpu=device.gpu if device is not None and on_device else None,
            platform=this_platform(),
            options=options or BuilderOptions(),
            danet=danet,
        )
        return EngineBuild(bundle, library, lowering, request, device, model, configure, driver_cuda)

    gpu = "no GPU" if device is None else f"{device.gpu}, driver of CUDA {device.cuda_driver}"
    machine = f"danet {danet}, {library.title}, {gpu}, bundle {bundle.sha256[:12]}"
    return BuildPlan(lowerings, make, machine, reference_memory(bundle.manifest.model.tokens, precision))
