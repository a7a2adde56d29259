"""Building engines with TensorRT on the device that runs them, for the GPU that it has."""

from __future__ import annotations

from typing import Final

from danet_runtime.bundle.manifest import Precision
from danet_runtime.bundle.reader import Bundle
from danet_runtime.tensorrt.builder import BuiltEngine, Progress, build_plan
from danet_runtime.tensorrt.cuda_driver import cuda_driver
from danet_runtime.tensorrt.kernels import KernelVariant
from danet_runtime.tensorrt.library import OLDEST, Serves, load_tensorrt
from danet_runtime.tensorrt.lowering import Attention, Lowering, choose_lowering, lowered_model
from danet_runtime.tensorrt.registration import operators_of, register_plugins

SERVES: Final = Serves("tensorrt", since=OLDEST)


def build_on_device(
    bundle: Bundle,
    precision: Precision,
    asked: Attention | None = None,
    kernel_variant: KernelVariant = "tuned",
    progress: Progress | None = None,
) -> tuple[BuiltEngine, Lowering, str]:
    """Build one engine for this machine's GPU.

    Args:
        bundle: Holds the model, and the kernels where plugins are used.
        precision: Which variant.
        asked: How the attention is built; chosen where nothing is asked.
        kernel_variant: ``small`` for kernels that need at most 48 KiB of shared memory.
        progress: Is told how far the builder is.

    Returns:
        The engine, how the attention was built, and the GPU's architecture as ``sm_87``.

    Raises:
        MissingDependencyError: TensorRT or cuda-python is not installed.
        BackendError: There is no GPU, or TensorRT cannot parse or build the model.
        BundleError: The bundle lacks the kernels or bodies, or they are not what was written.
    """
    library = load_tensorrt()
    driver = cuda_driver()
    arch = driver.architecture(0)  # the first visible GPU; no context is current yet
    lowering = choose_lowering(library, bundle, precision, arch, asked)
    model = lowered_model(library, bundle, precision, lowering.attention)
    flags = library.network_flags
    failures: list[str] = []
    if lowering.attention == "plugin":
        registration = register_plugins(
            library.module,
            bundle,
            arch,
            "fp16",  # of an INT8 variant too: around the custom operators it computes in FP16
            kernel_variant,
            driver_cuda=driver.cuda_release(),
            operators=operators_of(model),
        )
        flags, failures = registration.network_flags, registration.failures
    built = build_plan(library, model, flags, progress=progress, failures=failures)
    return built, lowering, arch
