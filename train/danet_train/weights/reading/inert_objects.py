"""Files of ``torch.save`` that hold objects of other packages: written anew with their plain values alone.

A Runner's file of mmsegmentation 1.x holds histories, functions and numpy values beside its tensors, and
``torch.load(weights_only=True)`` refuses it as a whole. Here such a file is first read symbolically
(:mod:`danet_train.weights.reading.symbolic_pickle`). What is left, tensors and plain values, is written as a
pickle again, which torch then reads as any other (``weights_only=True``).
"""

from __future__ import annotations

import collections
import io
import math
import pickle
import zipfile
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from danet_train.weights.reading.symbolic_pickle import StandIn, Storage, SymbolicReader, path_of

_MAGIC = 0x1950A86A20F9469CFC6C
"""The first of the pickles that torch before 1.6 writes one after the other (``torch.serialization``)."""
STORAGES = "storages of what was left out"
"""A key of what :func:`without_objects` writes for torch before 1.6; its value is of no use."""
_MOST_VALUES = 4096
"""Most values of a numpy array that is kept, as a list: a palette, not a history."""

_TENSORS = {
    "torch._utils._rebuild_tensor": torch._utils._rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": torch._utils._rebuild_parameter,
}
_HOOKS_AT = {torch._utils._rebuild_tensor_v2: 5, torch._utils._rebuild_parameter: 2}
_DTYPES = {str(kind): kind for kind in (torch.float32, torch.float64, torch.float16, torch.bfloat16)}
_MAPPINGS = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter"}
_SEQUENCES = {"torch.Size", "builtins.set", "builtins.frozenset", "collections.deque"}
_SCALARS = {"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"}
_ARRAYS = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
_BUFFERS = {"numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"}  # from protocol 5 on


class PlainFile(NamedTuple):
    """A file without objects.

    Attributes:
        data: The bytes of the file, as torch reads it.
        left_out: Number of objects of each name that were left out; None stands in their places.
    """

    data: bytes
    left_out: Counter[str]


class _Writer(pickle.Pickler):
    """Writes tensors by the names that torch gives them, and storages as it describes them."""

    def persistent_id(self, obj: object, /) -> object:
        return obj.description if isinstance(obj, Storage) else None

    def reducer_override(self, obj: Any, /) -> Any:  # noqa: ANN401 - as pickle has it
        return (obj.rebuild, obj.args) if isinstance(obj, _PlainTensor) else NotImplemented


class _PlainTensor(NamedTuple):
    rebuild: Any
    args: tuple[object, ...]


def without_objects(data: bytes) -> PlainFile | None:
    """Return the file with None in place of each object that is no tensor and no plain value.

    Containers of :mod:`collections`, numpy's numbers and its small arrays become plain values.

    Args:
        data: The file as ``torch.save`` wrote it, today or before 1.6, with any pickle protocol.

    Returns:
        None where it is neither, or nothing but an object.

    Raises:
        HostileFileError: The file was made to run something; it was not.
        Exception: pickle or zipfile cannot read a damaged file.
    """
    if data.startswith(b"PK"):
        return _archive_without_objects(data)
    file = io.BytesIO(data)
    if pickle.Unpickler.load(SymbolicReader(file)) != _MAGIC:
        return None
    for _ in ("version", "system"):
        SymbolicReader(file).load()
    begin = file.tell()
    reader = SymbolicReader(file)
    plain = _Plain()
    content = plain.of(reader.load())
    end = file.tell()
    if not isinstance(content, dict):
        return None
    if plain.left_out:
        # torch asks for every storage that the file lists, also those of what was left out.
        content[STORAGES] = reader.storages
    return PlainFile(data[:begin] + _written(content) + data[end:], plain.left_out)


def _archive_without_objects(data: bytes) -> PlainFile | None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pickles = [entry.filename for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
        if len(pickles) != 1:
            return None
        plain = _Plain()
        content = plain.of(SymbolicReader(io.BytesIO(archive.read(pickles[0]))).load())
        if not isinstance(content, dict):
            return None
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as written:
            for entry in archive.infolist():
                held = _written(content) if entry.filename in pickles else archive.read(entry)
                written.writestr(zipfile.ZipInfo(entry.filename), held)
    return PlainFile(buffer.getvalue(), plain.left_out)


def _written(content: object) -> bytes:
    buffer = io.BytesIO()
    _Writer(buffer, protocol=2).dump(content)
    return buffer.getvalue()


class _Plain:
    """Turns what was read into plain values; each object once, so that what is shared stays shared."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self._known: dict[int, tuple[object, object]] = {}  # the original too, that its id stays its own

    def of(self, held: object) -> object:
        if held is None or isinstance(held, str | bytes | bytearray | int | float | complex | Storage):
            return held
        if id(held) in self._known:
            return self._known[id(held)][1]
        if isinstance(held, dict):
            return self._mapping(held, held.items())
        if isinstance(held, list | set | frozenset):
            values: list[object] = []
            self._known[id(held)] = (held, values)
            values.extend(self.of(value) for value in held)
            return values
        plain = tuple(self.of(value) for value in held) if isinstance(held, tuple) else self._object(held)
        self._known[id(held)] = (held, plain)
        return plain

    def _mapping(self, held: object, pairs: Any) -> dict[object, object]:  # noqa: ANN401 - any iterable
        made: dict[object, object] = {}
        self._known[id(held)] = (held, made)
        for key, value in pairs:
            if isinstance(key, str | int | float | bytes | tuple | None):
                made[self.of(key)] = self.of(value)
        return made

    def _object(self, held: object) -> object:
        if not isinstance(held, StandIn):  # a class or a function itself
            path = path_of(held)
            if path not in _DTYPES:
                self.left_out[path or type(held).__name__] += 1
            return _DTYPES.get(path)
        args = held.args
        if held.path in _TENSORS:
            return self._tensor(_TENSORS[held.path], args)
        if held.path in _MAPPINGS or held.pairs:
            given = next((arg for arg in args if isinstance(arg, dict | list)), {})
            pairs = list(given.items()) if isinstance(given, dict) else [(key, value) for key, value in given]
            return self._mapping(held, [*pairs, *held.pairs])
        if held.path in _SEQUENCES:
            values = next((arg for arg in args if isinstance(arg, list | tuple)), ())
            return [self.of(value) for value in (*values, *held.values)]
        if held.path == "_codecs.encode" and args and isinstance(args[0], str):
            return args[0].encode("latin1")
        if held.path in _SCALARS | _ARRAYS | _BUFFERS:
            numbers = _numbers(held, self)
            if numbers is not None:
                return numbers
        self.left_out[held.path] += 1
        return None

    def _tensor(self, rebuild: Any, args: tuple[object, ...]) -> object:  # noqa: ANN401 - torch's function
        plain = [self.of(arg) for arg in args]
        hooks = _HOOKS_AT.get(rebuild)
        if hooks is not None:  # of the network that the tensor was in; none is called after loading
            plain[hooks:] = [collections.OrderedDict()]
        return _PlainTensor(rebuild, tuple(plain))


def _numbers(held: StandIn, plain: _Plain) -> object:
    """Return a number of numpy's, or a small array as a list; None for any other array."""
    if held.path in _SCALARS:
        kind, stored = held.args
        shape: Any = ()
    elif held.path in _BUFFERS:
        stored, kind, shape, order = held.args
        if order != "C":
            return None
    else:
        if not isinstance(held.state, tuple) or len(held.state) != 5 or held.state[3]:
            return None
        _, shape, kind, _, stored = held.state
    values = plain.of(stored)
    if not isinstance(kind, StandIn) or not kind.args or not isinstance(kind.args[0], str):
        return None
    is_big = isinstance(kind.state, tuple) and len(kind.state) > 1 and kind.state[1] == ">"
    code = kind.args[0]
    if code[:1] not in "biuf" or not code[1:].isdigit():
        return None
    dtype = np.dtype((">" if is_big else "<") + code)
    count = math.prod(shape)
    if (
        not isinstance(values, bytes | bytearray)
        or count > _MOST_VALUES
        or len(values) != count * dtype.itemsize
    ):
        return None
    return np.frombuffer(values, dtype).reshape(shape).tolist()


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """Return one sentence about what was left out, with few names, as ASCII."""
    count = sum(left_out.values())
    shown = [f"{ascii(name)[1:-1][:80]} ({times})" for name, times in list(left_out.items())[:4]]
    more = ", ..." if len(left_out) > len(shown) else ""
    return (
        f"left out: {count} object{'s' if count > 1 else ''} besides tensors, not loaded because they can "
        f"run code: {', '.join(shown)}{more}"
    )
