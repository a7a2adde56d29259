"""DLPack's capsules, looked into without taking them over: their own end frees what they hold."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any, Final

from danet_runtime.errors import FrameError
from danet_runtime.frames.device_arrays import title_of

_VERSION: Final = (1, 0)
_READ_ONLY: Final = 1  # DLPACK_FLAG_BITMASK_READ_ONLY
_COPIED: Final = 2  # DLPACK_FLAG_BITMASK_IS_COPIED
_KINDS: Final = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}  # DLDataTypeCode


class _Tensor(ctypes.Structure):
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


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


@dataclass(frozen=True)
class DlpackTensor:
    """Tensor that a DLPack capsule holds.

    Attributes:
        address: Address of the first element.
        kind: Name of the element type, for example ``uint8``.
        shape: Shape in elements.
        strides: Strides in elements; ``None``: C-contiguous.
        is_read_only: Whether its producer forbids writing, as far as it can say so (from DLPack 1.0 on).
        capsule: Keeps the memory alive.
    """

    address: int
    kind: str
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    is_read_only: bool
    capsule: object = field(repr=False)


def tensor_in(array: Any, name: str, stream: int) -> DlpackTensor:  # noqa: ANN401 - of whichever library
    """Ask an array for its capsule and read it.

    Args:
        array: Array with ``__dlpack__``.
        name: Name of the array in errors.
        stream: Handle of the stream that will use it; the producer orders its own work before.

    Raises:
        FrameError: The array refuses, gives no capsule of a tensor, or a copy in place of its own memory.
    """
    try:
        try:
            capsule = array.__dlpack__(stream=stream, max_version=_VERSION)
        except TypeError:  # of before DLPack 1.0, which does not know the argument
            capsule = array.__dlpack__(stream=stream)
    except Exception as error:
        raise FrameError(
            f"{name}: the __dlpack__ of {title_of(array)} refuses: {type(error).__name__}: {error}"
        ) from error
    flags = 0
    if _is_named(capsule, b"dltensor_versioned"):
        versioned = _Versioned.from_address(_pointer(capsule, b"dltensor_versioned"))
        if versioned.major != _VERSION[0]:
            raise FrameError(
                f"{name}: expected DLPack {_VERSION[0]}, {title_of(array)} gives {versioned.major}."
                f"{versioned.minor}; update danet, or give an older capsule"
            )
        tensor, flags = versioned.tensor, int(versioned.flags)
    elif _is_named(capsule, b"dltensor"):
        tensor = _Tensor.from_address(_pointer(capsule, b"dltensor"))
    else:
        raise FrameError(f"{name}: the __dlpack__ of {title_of(array)} gave no capsule of a tensor")
    if flags & _COPIED:
        raise FrameError(f"{name}: the __dlpack__ of {title_of(array)} gave a copy, not its own memory")
    lanes = "" if tensor.lanes == 1 else f"x{tensor.lanes}"
    return DlpackTensor(
        address=int(tensor.data or 0) + int(tensor.byte_offset),
        kind=f"{_KINDS.get(tensor.code, f'type {tensor.code} of ')}{tensor.bits}{lanes}",
        shape=tuple(tensor.shape[: tensor.ndim]),
        strides=tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None,
        is_read_only=bool(flags & _READ_ONLY),
        capsule=capsule,
    )


def _is_named(capsule: object, name: bytes) -> bool:
    check = ctypes.pythonapi.PyCapsule_IsValid
    check.restype, check.argtypes = ctypes.c_int, (ctypes.py_object, ctypes.c_char_p)
    return bool(check(capsule, name))


def _pointer(capsule: object, name: bytes) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return int(get(capsule, name))
