"""Files of ``torch.save``, read without running what they hold: tensors and plain values only."""

from __future__ import annotations

import hashlib
import io
import pickle
import reprlib
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from danet_train.errors import CheckpointError, NoCheckpointError

_ZIP = b"PK\x03\x04"
_FIRST_BYTES = (_ZIP, b"\x80")  # a zip archive; a pickle of protocol 2 or later: what torch.save writes
_UNREADABLE = (
    RuntimeError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    OverflowError,
    MemoryError,
    AssertionError,
    ImportError,
    struct.error,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)
_WRAPPER = "module."


class StoredWeights(NamedTuple):
    """What a file holds.

    Attributes:
        content: Of the whole file; where it is a bare state dict, ``{"state_dict": ...}`` of it.
        state: The tensors by name, ``content["state_dict"]``, without the ``module.`` of a wrapped network.
        sha256: Of the file, 64 hexadecimal digits.
    """

    content: dict[str, Any]
    state: dict[str, Tensor]
    sha256: str


def read_stored(path: Path) -> StoredWeights:
    """Read ``{"state_dict": {name: tensor}, ...}``, or a bare ``{name: tensor}``.

    Raises:
        NoCheckpointError: There is no such file.
        CheckpointError: The file is damaged, or holds something else, or Python objects besides tensors.
    """
    data = _bytes_of(path)
    content = _checkpoint_content(path, _unpickle(path, data))
    state = content["state_dict"]
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{path}: state_dict must map names to tensors, not {reprlib.repr(name)} to "
                f"{type(tensor).__name__}"
            )
        if not _is_stored_whole(tensor):
            raise CheckpointError(
                f"{path}: the tensor {name[:80]!r} {tuple(tensor.shape)} is a repeating view, sparse, or "
                "without values; have it saved again as a plain one"
            )
    return StoredWeights(content, _unwrapped(state), hashlib.sha256(data).hexdigest())


def read_plain(path: Path) -> object:
    """Whatever tensors and plain values a file holds, on the CPU.

    Raises:
        NoCheckpointError: There is no such file.
        CheckpointError: The file is damaged, or holds Python objects besides tensors.
    """
    return _unpickle(path, _bytes_of(path))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NoCheckpointError(f"{path} does not exist; give a checkpoint file") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); give a checkpoint file") from error


def _unpickle(path: Path, data: bytes) -> object:
    if not data.startswith(_FIRST_BYTES):
        raise CheckpointError(
            f"{path} ({len(data)} bytes) is no checkpoint: expected a file that torch.save wrote, which "
            f"begins as a zip archive or a pickle, but it begins with {data[:12]!r}; give a checkpoint file"
        )
    if data.startswith(_ZIP):
        _check_archive(path, data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about old pickles before it refuses or reads them
            content: object = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            return content
    except _UNREADABLE as error:
        if "weights_only" in str(error) and "Unsupported" in str(error):
            reason = (
                "holds Python objects besides tensors, which are not loaded because they can run code; have "
                "it saved again as {'state_dict': model.state_dict()} where it was made, or, only if you "
                "trust its origin, convert it so yourself, by torch.load with weights_only=False"
            )
        else:
            reason = "is no checkpoint, or is damaged or cut off; expected a file that torch.save wrote"
        raise CheckpointError(f"{path} ({len(data)} bytes) {reason}") from error


def _check_archive(path: Path, data: bytes) -> None:
    """torch.save packs nothing, but torch.load unpacks: a megabyte may become gigabytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise CheckpointError(f"{path} ({len(data)} bytes) is damaged or cut off: {error}") from error
    packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if packed or sum(entry.file_size for entry in entries) > len(data):
        raise CheckpointError(
            f"{path} ({len(data)} bytes) holds packed or overlapping parts, which torch.save never writes; "
            "have it saved again where it was made"
        )


def _is_stored_whole(tensor: Tensor) -> bool:
    """Whether every value has its own place in the file: a view may repeat four bytes without end."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _checkpoint_content(path: Path, content: object) -> dict[str, Any]:
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        return content
    if isinstance(content, dict) and content and all(isinstance(item, Tensor) for item in content.values()):
        return {"state_dict": content}
    raise CheckpointError(
        f"{path} must hold a dict with 'state_dict', or names with their tensors alone, not "
        + (
            f"the keys {reprlib.repr(list(content)[:4])}"
            if isinstance(content, dict)
            else type(content).__name__
        )
    )


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix that torch's parallel wrappers put before every name."""
    if state and all(name.startswith(_WRAPPER) for name in state):
        return {name.removeprefix(_WRAPPER): tensor for name, tensor in state.items()}
    return dict(state)
