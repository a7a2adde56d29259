"""Arrays of other libraries on this GPU, as memory that a stream reads or writes: nothing is copied here.

A frame, or labels, may be anything with ``__cuda_array_interface__`` (pycuda's GPUArray, CuPy, Numba) or
``__dlpack__`` (PyTorch, CuPy, JAX). Of two protocols the one that orders the streams is taken: the interface
from its version 3 on, else DLPack, whose producer orders its own work before the stream that it is told.

(CUDA Array Interface, version 3: numba.readthedocs.io, "CUDA Array Interface". DLPack:
dmlc.github.io/dlpack, "Python Specification for DLPack", and its ``dlpack.h``.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from danet_runtime.errors import BackendError, FaultError, FrameError
from danet_runtime.frames.device_arrays import DLPACK_ON_CUDA, DeviceArray, title_of
from danet_runtime.tensorrt.cuda.dlpack import tensor_in
from danet_runtime.tensorrt.cuda.session import CudaSession

LEGACY_DEFAULT_STREAM: Final = 1

Role = Literal["frame", "labels"]

_RULES: Final[dict[Role, str]] = {
    "frame": "a frame on the GPU is uint8, C-contiguous",
    "labels": "labels on the GPU are uint8, C-contiguous",
}


@dataclass(frozen=True)
class DeviceMemory:
    """Memory on the GPU that is read or written.

    Attributes:
        address: Device address of its first byte.
        stream: Handle of the stream whose work must be done before; ``None``: there is none.
        context: Context that it was allocated in, if it is not the session's context: kernels of the session
            cannot reach it then, only copies between contexts can.
        owner: Keeps the memory alive.
    """

    address: int
    stream: int | None = None
    context: Any = None
    owner: Any = field(default=None, repr=False)

    def overlaps(self, nbytes: int, other: DeviceMemory, other_nbytes: int) -> bool:
        """Whether two pieces of memory share bytes; addresses are unique in a process."""
        return self.address < other.address + other_nbytes and other.address < self.address + nbytes


def device_memory(
    array: DeviceArray, role: Role, shape: tuple[int, ...], session: CudaSession, stream: int
) -> DeviceMemory:
    """Take an array in: nothing is copied, and nothing waited for.

    Args:
        array: Array with ``__cuda_array_interface__`` or ``__dlpack__``.
        role: A frame, which is read, or labels, which are written.
        shape: Expected shape, with a first axis of 1 that the array may leave out.
        session: CUDA session whose context is current.
        stream: Handle of the stream of the session that will read or write.

    Raises:
        FrameError: It is no such array, of another type, shape or layout, read-only labels, or not on this
            GPU.
    """
    interface = getattr(array, "__cuda_array_interface__", None)
    has_order = interface is not None and interface.get("version", 0) >= 3
    if hasattr(array, "__dlpack__") and not has_order:
        return _from_dlpack(array, role, shape, session, stream)
    if interface is None:
        raise FrameError(
            f"{role}: expected a numpy array, or one on the GPU with __cuda_array_interface__ or __dlpack__ "
            f"(got {title_of(array)})"
        )
    try:
        found, kind = tuple(interface["shape"]), interface["typestr"]
        address, is_read_only = int(interface["data"][0] or 0), bool(interface["data"][1])
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise FrameError(
            f"{role}: the __cuda_array_interface__ of {title_of(array)} is not that of the protocol, which "
            f"has shape, typestr and data (got {sorted(map(str, interface))})"
        ) from error
    if kind not in ("|u1", "<u1", "u1") or found not in (shape, shape[1:]):
        raise FrameError(_other(role, shape, f"{kind} {found}"))
    if interface.get("mask") is not None:
        raise FrameError(f"{_RULES[role]} and has no mask; fill it, and give the array without")
    if role == "labels" and is_read_only:
        raise FrameError(_READ_ONLY.format(title_of(array)))
    _check_strides(role, interface.get("strides"), found)
    # An interface before version 3 says nothing of streams: its library's work is on the default one. So is
    # that of pycuda, unless it is told otherwise, though its interface always gives "stream": None (2026.1,
    # gpuarray.py), which by the protocol says that nothing is under way.
    waited = interface.get("stream") if has_order else LEGACY_DEFAULT_STREAM
    if waited is None and _is_of_pycuda(array):
        waited = LEGACY_DEFAULT_STREAM
    if waited == 0:
        raise FrameError(f"{role}: a __cuda_array_interface__ must not give the stream 0; it says nothing")
    context = _context_of(role, session, address)
    return DeviceMemory(address, None if waited is None else int(waited), context, array)


_READ_ONLY: Final = "labels are written, and this {} is read-only; give an array that may be written"


def _from_dlpack(
    array: Any,  # noqa: ANN401 - of whichever library
    role: Role,
    shape: tuple[int, ...],
    session: CudaSession,
    stream: int,
) -> DeviceMemory:
    kind, ordinal = array.__dlpack_device__()
    if int(kind) not in DLPACK_ON_CUDA or ordinal != session.ordinal:
        raise FrameError(
            f"{role}: expected an array on the GPU {session.ordinal} (got DLPack's device {int(kind)}, "
            f"number {ordinal}); from the host give a numpy array"
        )
    tensor = tensor_in(array, role, stream)
    if tensor.kind != "uint8" or tensor.shape not in (shape, shape[1:]):
        raise FrameError(_other(role, shape, f"{tensor.kind} {tensor.shape}"))
    if role == "labels" and tensor.is_read_only:
        raise FrameError(_READ_ONLY.format(title_of(array)))
    _check_strides(role, tensor.strides, tensor.shape)
    context = _context_of(role, session, tensor.address)
    return DeviceMemory(tensor.address, None, context, (array, tensor.capsule))


def _other(role: Role, shape: tuple[int, ...], found: str) -> str:
    return (
        f"{_RULES[role]} {shape[1:]}, the bundle's own size (got {found}); resize and convert it there, or "
        "give it from the host"
    )


def _check_strides(role: Role, strides: tuple[int, ...] | None, shape: tuple[int, ...]) -> None:
    expected: list[int] = []
    step = 1
    for extent in reversed(shape):
        expected.insert(0, step)
        step *= extent
    # The stride of an extent of 1 is never used, and libraries give any number there.
    wrong = strides is not None and any(
        extent != 1 and stride != wanted
        for stride, wanted, extent in zip(strides, expected, shape, strict=True)
    )
    if wrong:
        raise FrameError(
            f"{_RULES[role]} with the strides {tuple(expected)} (got {tuple(strides or ())}); copy it first, "
            "with torch's contiguous(), cupy.ascontiguousarray or pycuda's copy()"
        )


def _context_of(role: Role, session: CudaSession, address: int) -> Any:  # noqa: ANN401 - a CUcontext
    """Return the context in which memory of this GPU was allocated, if it is not the session's."""
    attributes = session.driver.api.CUpointer_attribute
    try:
        ordinal = session.call(
            "cuPointerGetAttribute", attributes.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address
        )
    except FaultError:
        raise
    except BackendError as error:
        raise FrameError(
            f"{role}: expected a device address (got {address:#x}, which may have been freed): {error}"
        ) from error
    if int(ordinal) != session.ordinal:
        raise FrameError(
            f"{role}: expected memory of the GPU {session.ordinal}, on which the engine runs (got memory of "
            f"GPU {int(ordinal)}); copy it over first"
        )
    try:
        context = session.call("cuPointerGetAttribute", attributes.CU_POINTER_ATTRIBUTE_CONTEXT, address)
    except FaultError:
        raise
    except BackendError:  # memory of no single context, as from a pool: every context of the GPU reaches it
        return None
    return None if int(context) in (0, session.context) else context


def _is_of_pycuda(array: object) -> bool:
    return any(kind.__module__.partition(".")[0] == "pycuda" for kind in type(array).__mro__)
