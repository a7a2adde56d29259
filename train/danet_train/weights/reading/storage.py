"""Files of ``torch.save``, read without running what they hold: tensors and plain values only.

Other objects are left out, with a note, where the rest of the file makes sense without them
(:mod:`danet_train.weights.reading.inert_objects`).
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import reprlib
import struct
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from danet_train.errors import CheckpointError, NoCheckpointError
from danet_train.weights.reading.inert_objects import STORAGES, describe_left_out, without_objects
from danet_train.weights.reading.symbolic_pickle import HostileFileError
from danet_train.weights.reading.wrappings import find_state, unwrapped

_ZIP = b"PK\x03\x04"
_FIRST_BYTES = (_ZIP, b"\x80")  # a zip archive; a pickle of protocol 2 or later: what torch.save writes
_OTHERS = (
    (
        re.compile(rb".{8}\{\"", re.DOTALL),
        "a safetensors file: load it with safetensors.torch.load_file, and torch.save what that gives",
    ),
    (
        re.compile(rb"version https://git-lfs"),
        "what Git LFS leaves in place of a file: fetch that with `git lfs pull`",
    ),
    (re.compile(rb"\s*<(!doctype|html)", re.IGNORECASE), "a web page: the download went wrong, repeat it"),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!"), "a packed file: unpack it first"),
)
"""Other kinds of files that are given as checkpoints, with advice."""
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
    pickle.PickleError,
    zipfile.BadZipFile,
)
_CODE = (
    "holds Python objects besides tensors, which are not loaded because they can run code; have it saved "
    "again as {'state_dict': model.state_dict()} where it was made, or, only if you trust its origin, "
    "convert it so yourself, by torch.load with weights_only=False"
)
_DAMAGED = "is no checkpoint, or is damaged or cut off; expected a file that torch.save wrote"


class StoredWeights(NamedTuple):
    """The content of a file.

    Attributes:
        content: Content of the whole file; a bare state dict becomes ``{"state_dict": ...}``.
        state: The tensors by name, without the prefixes of parallel, compiling and averaging wrappings.
        sha256: SHA-256 of the file, 64 hexadecimal digits.
        notes: One sentence for each part that was left out.
    """

    content: dict[str, Any]
    state: dict[str, Tensor]
    sha256: str
    notes: tuple[str, ...] = ()


def read_stored(path: Path) -> StoredWeights:
    """Read ``{"state_dict": {name: tensor}, ...}``, another usual key, or a bare ``{name: tensor}``.

    Raises:
        NoCheckpointError: There is no such file.
        CheckpointError: The file is damaged, or holds something else, or Python objects instead of tensors.
    """
    data = _bytes_of(path)
    left_out: Counter[str] = Counter()
    try:
        content = _unpickle(path, data)
    except _ObjectsError:
        content, left_out = _without_objects(path, data)
    notes = [describe_left_out(left_out)] if left_out else []
    found = find_state(content)
    if found is None and left_out:
        first = ascii(next(iter(left_out)))[1:-1][:80]
        raise CheckpointError(f"{path} ({len(data)} bytes) {_CODE}; the first of them is a {first}")
    if found is None:
        raise CheckpointError(
            f"{path} must hold a dict with 'state_dict', or names with their tensors alone, not "
            + (
                f"the keys {reprlib.repr(list(content)[:4])}"
                if isinstance(content, dict)
                else type(content).__name__
            )
        )
    own = isinstance(content, dict) and "format" in content  # which holds no objects
    if left_out and (own or not found.state):
        raise CheckpointError(f"{path} ({len(data)} bytes) {_CODE}")
    for name, tensor in found.state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{path}: state_dict must map names to tensors, not {reprlib.repr(name)} to "
                f"{type(tensor).__name__}" + (f"; {notes[0]}" if notes else "")
            )
        if not _is_stored_whole(tensor):
            raise CheckpointError(
                f"{path}: the tensor {name[:80]!r} {tuple(tensor.shape)} is expanded from fewer values, "
                "sparse, or without values; have it saved again as a plain one"
            )
    try:
        state, more = unwrapped(found.state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    whole = content if isinstance(content, dict) and found.state is not content else {"state_dict": content}
    return StoredWeights(whole, state, hashlib.sha256(data).hexdigest(), (*notes, *found.notes, *more))


def read_plain(path: Path) -> object:
    """Read the tensors and plain values of a file, on the CPU.

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


class _ObjectsError(CheckpointError):
    """torch refuses the file because of objects in its pickle."""


def _unpickle(path: Path, data: bytes) -> object:
    if data[8:9] == b"{" and 8 + int.from_bytes(data[:8], "little") <= len(data):
        raise CheckpointError(
            f"{path} ({len(data)} bytes) is a file of safetensors, which is not read; convert it: "
            "torch.save({'state_dict': safetensors.torch.load_file(OLD)}, NEW)"
        )
    if not data.startswith(_FIRST_BYTES):
        known = next((words for form, words in _OTHERS if form.match(data)), None)
        raise CheckpointError(
            f"{path} ({len(data)} bytes) is no checkpoint: expected a file that torch.save wrote, which "
            f"begins as a zip archive or a pickle, but it begins with {data[:12]!r}; "
            + ("give a checkpoint file" if known is None else f"this is {known}")
        )
    if data.startswith(_ZIP):
        _check_archive(path, data)
    try:
        return _loaded(data)
    except _UNREADABLE as error:
        if "weights_only" in str(error) and "unsupported" in str(error).lower():
            raise _ObjectsError(f"{path} ({len(data)} bytes) {_CODE}") from error
        raise CheckpointError(f"{path} ({len(data)} bytes) {_DAMAGED}") from error


def _loaded(data: bytes) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about old pickles before it refuses or reads them
        content: object = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        return content


def _without_objects(path: Path, data: bytes) -> tuple[object, Counter[str]]:
    try:
        plain = without_objects(data)
    except HostileFileError as error:
        raise CheckpointError(
            f"{path} ({len(data)} bytes) asks for {ascii(str(error))[1:-1][:80]}, so that it can run code as "
            "it is loaded, which no file of weights needs; nothing was run. Do not use it"
        ) from error
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} ({len(data)} bytes) {_DAMAGED}") from error
    if plain is None:
        raise CheckpointError(f"{path} ({len(data)} bytes) {_CODE}")
    try:
        content = _loaded(plain.data)
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} ({len(data)} bytes) {_DAMAGED}") from error
    if isinstance(content, dict):
        content.pop(STORAGES, None)
    return content, plain.left_out


def _check_archive(path: Path, data: bytes) -> None:
    """torch.save packs nothing, but torch.load unpacks: a megabyte may become gigabytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise CheckpointError(f"{path} ({len(data)} bytes) is damaged or cut off: {error}") from error
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise CheckpointError(
            f"{path} ({len(data)} bytes) is a program of torch.jit.save (TorchScript) with its weights, "
            "and is not run; save these alone there: torch.save({'state_dict': model.state_dict()}, "
            "NEW)"
        )
    packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if packed or sum(entry.file_size for entry in entries) > len(data):
        raise CheckpointError(
            f"{path} ({len(data)} bytes) holds packed or overlapping parts, which torch.save never writes; "
            "have it saved again where it was made"
        )


def _is_stored_whole(tensor: Tensor) -> bool:
    """Return whether every value has its own place in the file: an expanded tensor may repeat four bytes."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
