"""A bundle's kernels on this machine's GPU: launched through the driver, and compared with float64.

It takes seconds, and neither PyTorch nor TensorRT: what the kernels give by themselves is known before an
engine is built of them. A compiler of another driver, or another GPU, may make wrong code of right PTX.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from danet_runtime.bundle.manifest import Kernel
from danet_runtime.bundle.reader import Bundle
from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.cuda.driver import cuda_driver
from danet_runtime.tensorrt.cuda.session import CudaSession
from danet_runtime.tensorrt.kernels.kernels import LoadedKernel, select_kernels
from danet_runtime.tensorrt.kernels.ptx import Release
from danet_runtime.tensorrt.kernels.truth import Trial, tolerance_of


@dataclass(frozen=True)
class KernelVerdict:
    """The result of a kernel on this GPU, beside the truth.

    Attributes:
        kernel: The kernel.
        error: Distance from the truth, as its operator measures it; NaN where the result holds NaN.
        tolerance: The largest distance that is right.
        unwritten: Elements of the output that it did not write.
    """

    kernel: Kernel
    error: float
    tolerance: float
    unwritten: int

    @property
    def is_right(self) -> bool:
        """Whether everything was written, and is near enough to the truth."""
        return self.unwritten == 0 and self.error <= self.tolerance  # not so for NaN

    def __str__(self) -> str:
        left = f"; {self.unwritten} elements not written" if self.unwritten else ""
        return f"error {self.error:.1e} of float64, at most {self.tolerance:.1e}{left}"


def kernels_for(bundle: Bundle, arch: str, driver_cuda: Release | None) -> list[LoadedKernel]:
    """All kernels that a bundle holds for a GPU, of every variant and type.

    Args:
        bundle: The bundle.
        arch: Architecture of the GPU, as ``sm_87``.
        driver_cuda: The CUDA release of the driver; unchecked where it is not given.

    Raises:
        BackendError: It holds none, or the driver is too old for one.
        BundleError: A file is not what the manifest says.
    """
    served = [kernel for kernel in bundle.manifest.kernels if kernel.arch in (arch, f"{arch}a")]
    kinds = dict.fromkeys((kernel.dtype, kernel.variant) for kernel in served)
    found: list[LoadedKernel] = []
    for dtype, variant in kinds or {("fp16", "tuned"): None}:
        of_kind = [one.operator for one in served if (one.dtype, one.variant) == (dtype, variant)]
        operators = {"operators": tuple(of_kind)} if of_kind else {}
        chosen = select_kernels(bundle, arch, dtype, variant, driver_cuda=driver_cuda, **operators)
        found.extend(chosen.values())
    return found


def check_bundle(bundle: Bundle) -> list[KernelVerdict]:
    """Launch all kernels that a bundle holds for the first visible GPU.

    Raises:
        MissingDependencyError: cuda-python is not installed.
        BackendError: There is no GPU, or no kernel for it; or the driver refuses one.
        BundleError: A file is not what the manifest says.
        FaultError: One of them lost the GPU.
    """
    driver = cuda_driver()
    return check_kernels(kernels_for(bundle, driver.architecture(0), driver.cuda_release()))


def check_kernels(
    kernels: Iterable[LoadedKernel], session: CudaSession | None = None, seed: int = 0
) -> list[KernelVerdict]:
    """Launch kernels, one after the other, on random inputs of their own sizes.

    Args:
        kernels: Kernels for this GPU.
        session: CUDA session to run in; by default one of its own, on the first visible GPU.
        seed: Seed of the inputs.

    Raises:
        BackendError: The driver refuses one, or there is not enough memory.
        FaultError: One of them lost the GPU.
    """
    if session is None:
        with contextlib.closing(CudaSession()) as own:
            return check_kernels(kernels, own, seed)
    with session.active():
        stream = session.make_stream()
        return [_verdict(session, loaded, stream, seed) for loaded in kernels]


def require_right(verdicts: Sequence[KernelVerdict]) -> None:
    """Refuse kernels that compute wrongly.

    Raises:
        BackendError: One of them does.
    """
    for verdict in verdicts:
        if not verdict.is_right:
            kernel = verdict.kernel
            raise BackendError(
                f"{kernel.ptx.path} ({kernel.operator}, {kernel.variant}) computes wrongly on this GPU: "
                f"{verdict}; do not build an engine of it, and report this with the driver's version"
            )


def _verdict(session: CudaSession, loaded: LoadedKernel, stream: int, seed: int) -> KernelVerdict:
    trial = Trial(loaded.kernel, seed)
    launchable = session.driver.load(loaded)
    output: npt.NDArray[Any] = np.empty(trial.output_shape, trial.output_type)
    with _memory(session, [*(bits.nbytes for bits in trial.inputs.values()), output.nbytes]) as addresses:
        for bits, address in zip(trial.inputs.values(), addresses, strict=False):
            session.call("cuMemcpyHtoD", address, bits.ctypes.data, bits.nbytes)
        session.call("cuMemsetD8", addresses[-1], 0xFF, output.nbytes)
        session.driver.launch(launchable, stream, addresses)
        session.call("cuStreamSynchronize", stream)
        session.call("cuMemcpyDtoH", output.ctypes.data, addresses[-1], output.nbytes)
    with np.errstate(invalid="ignore", over="ignore"):
        error = trial.error(output)
    return KernelVerdict(loaded.kernel, error, tolerance_of(loaded.kernel), trial.unwritten(output))


@contextlib.contextmanager
def _memory(session: CudaSession, sizes: Sequence[int]) -> Iterator[list[int]]:
    addresses: list[int] = []
    try:
        for nbytes in sizes:
            addresses.append(int(session.call("cuMemAlloc", nbytes)))
        yield addresses
    finally:
        for address in addresses:
            with contextlib.suppress(BackendError):  # on a lost GPU nothing can be freed
                session.call("cuMemFree", address)
