"""Arrays that are on the GPU already: frames of other libraries as guests, and labels that stay there.

A frame may be anything with ``__cuda_array_interface__`` (pycuda's GPUArray, CuPy, Numba) or ``__dlpack__``
(PyTorch, CuPy, JAX). Of two protocols the one that orders the streams is taken: the interface from its
version 3 on, else DLPack, whose producer orders its own work before the stream that it is told.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from danet_runtime.errors import BackendError, FaultError, FrameError
from danet_runtime.tensorrt.cuda.session import CudaSession

LEGACY_DEFAULT_STREAM: Final = 1
_ON_CUDA: Final = (2, 13)  # kDLCUDA, kDLCUDAManaged
_UNSIGNED: Final = 1  # kDLUInt
_HINT: Final = "a frame on the GPU is uint8, C-contiguous"


@dataclass(frozen=True)
class DeviceFrame:
    """A frame that is on the GPU.

    Attributes:
        address: Of its first byte.
        stream: Handle of the stream whose work must be done before it is read; ``None``: there is none.
        owner: Keeps the memory alive.
    """

    address: int
    stream: int | None
    owner: Any = field(repr=False)


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),  # in elements; none: C-contiguous
        ("byte_offset", ctypes.c_uint64),
    )


def device_frame(
    array: Any,  # noqa: ANN401 - of whichever library
    shape: tuple[int, ...],
    session: CudaSession,
    reader: int,
) -> DeviceFrame:
    """Take a guest in: nothing is copied, and nothing waited for.

    Args:
        array: With ``__cuda_array_interface__`` or ``__dlpack__``.
        shape: (1, H, W, 3); the array may leave the 1 out.
        session: Its context is current.
        reader: Handle of the stream that will read it.

    Raises:
        FrameError: It is no such array, of another type, shape or layout, or not on this GPU.
    """
    interface = getattr(array, "__cuda_array_interface__", None)
    has_order = interface is not None and interface.get("version", 0) >= 3
    if hasattr(array, "__dlpack__") and not has_order:
        return _from_dlpack(array, shape, session, reader)
    if interface is None:
        raise FrameError(
            "a frame must be a numpy array, or on the GPU with __cuda_array_interface__ or __dlpack__ "
            f"(got {type(array).__name__})"
        )
    found = tuple(interface["shape"])
    if interface["typestr"] not in ("|u1", "<u1", "u1") or found not in (shape, shape[1:]):
        raise FrameError(f"{_HINT} {shape[1:]} (got {interface['typestr']} {found})")
    if interface.get("mask") is not None:
        raise FrameError("a frame on the GPU must have no mask")
    _check_strides(interface.get("strides"), found)
    address = int(interface["data"][0] or 0)
    _check_place(session, address)
    # An interface before version 3 says nothing of streams: its library's work is on the default one.
    stream = interface.get("stream") if has_order else LEGACY_DEFAULT_STREAM
    if stream == 0:
        raise FrameError("a frame's __cuda_array_interface__ must not give the stream 0; it says nothing")
    return DeviceFrame(address, None if stream is None else int(stream), array)


def _from_dlpack(
    array: Any,  # noqa: ANN401 - of whichever library
    shape: tuple[int, ...],
    session: CudaSession,
    reader: int,
) -> DeviceFrame:
    kind, ordinal = array.__dlpack_device__()
    if int(kind) not in _ON_CUDA or ordinal != session.ordinal:
        raise FrameError(
            f"a frame must be on the GPU {session.ordinal} (got DLPack's device {int(kind)}, number "
            f"{ordinal}); from the host give a numpy array"
        )
    capsule = array.__dlpack__(stream=reader)
    # The capsule is only looked into, so that its own end frees what it holds.
    tensor = _DLTensor.from_address(_pointer(capsule, b"dltensor"))
    found = tuple(tensor.shape[: tensor.ndim])
    if (tensor.code, tensor.bits, tensor.lanes) != (_UNSIGNED, 8, 1) or found not in (shape, shape[1:]):
        raise FrameError(
            f"{_HINT} {shape[1:]} (got DLPack's type {tensor.code} of {tensor.bits} bits, {found})"
        )
    _check_strides(tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None, found)
    address = int(tensor.data or 0) + int(tensor.byte_offset)
    _check_place(session, address)
    return DeviceFrame(address, None, (array, capsule))


def _pointer(capsule: object, name: bytes) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    try:
        return int(get(capsule, name))
    except ValueError as error:
        raise FrameError(f"__dlpack__ gave no capsule of a tensor: {error}") from error


def _check_strides(strides: tuple[int, ...] | None, shape: tuple[int, ...]) -> None:
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
            f"{_HINT} with the strides {tuple(expected)} (got {tuple(strides or ())}); copy it first, with "
            "torch's contiguous() or cupy.ascontiguousarray"
        )


def _check_place(session: CudaSession, address: int) -> None:
    attribute = session.driver.api.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    try:
        ordinal = int(session.call("cuPointerGetAttribute", attribute, address))
    except FaultError:
        raise
    except BackendError as error:
        raise FrameError(
            f"a frame on the GPU must have a device address (got {address:#x}): {error}"
        ) from error
    if ordinal != session.ordinal:
        raise FrameError(f"a frame must be on the GPU {session.ordinal} (got one on {ordinal})")


class DeviceLabels:
    """Labels that stayed on the GPU, complete, until their slot is used again by a later submit.

    ``torch.as_tensor(labels, device="cuda")`` and ``cupy.asarray(labels)`` take it without a copy; a kernel
    of pycuda takes :attr:`address`. Who reads it on a stream and goes on says so with :meth:`read_by`.

    Attributes:
        shape: (1, H, W) uint8.
    """

    def __init__(
        self,
        address: int,
        shape: tuple[int, ...],
        is_valid: Callable[[], bool],
        note_reader: Callable[[int], None],
    ) -> None:
        self.shape = shape
        self._address = address
        self._is_valid = is_valid
        self._note_reader = note_reader

    @property
    def address(self) -> int:
        """Of the first byte on the device.

        Raises:
            FrameError: The slot was used again.
        """
        if not self._is_valid():
            raise FrameError("these labels are gone: their slot was used again, or the executor is closed")
        return self._address

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Version 3; no stream, since the labels are complete."""
        return {
            "shape": self.shape,
            "typestr": "|u1",
            "data": (self.address, False),
            "strides": None,
            "version": 3,
            "stream": None,
        }

    def read_by(self, stream: int) -> None:
        """Reads were enqueued on this stream: the slot's next inference waits for them.

        Raises:
            FrameError: The slot was used again.
            BackendError: It is no stream.
        """
        _ = self.address
        self._note_reader(stream)
