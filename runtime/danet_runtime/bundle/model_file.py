"""Checks that a model file holds nothing that makes a library read or run anything besides the file itself.

ONNX lets a tensor lie in another file (``data_location: EXTERNAL``), named by a path that the libraries
resolve by themselves: where they are given bytes, as here, against the working directory. Neither hash nor
signature of a bundle covers such a file, so none is ever read. A bundle has no need of it, as ONNX's own
limit of 2 GiB a file is a bundle's too. Other ways out are closed likewise:

- nodes and functions of other domains than the standard one and ``danet``: an ``EPContext`` of
  ``com.microsoft`` names a file with a compiled network, and a custom domain may stand for any library;
- ``ort_config`` in the metadata, from which ONNX Runtime takes options where its environment allows it;
- ONNX Runtime's own format (``ORTM``), which is no protobuf, and which this reader could not look into.

Every message of the file is walked, in its main graph, subgraphs, functions and training graphs, before a
library sees a byte. Fields that the schema does not know are left alone: no parser of this schema reads them
either. (Numbers of the fields: ``onnx.proto`` of ONNX 1.23.)
"""

from __future__ import annotations

from typing import Final

from danet_runtime.bundle.operators import NAMESPACE
from danet_runtime.bundle.wire_format import LENGTH, VARINT, fields, read_varint
from danet_runtime.errors import IntegrityError

DOMAINS: Final = frozenset({b"", b"ai.onnx", NAMESPACE.encode()})
"""Domains of the operators and functions of a bundle."""

INNER_MESSAGES: Final[dict[str, dict[int, str]]] = {
    "ModelProto": {
        7: "GraphProto",
        14: "StringStringEntryProto",
        20: "TrainingInfoProto",
        25: "FunctionProto",
    },
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "TensorProto": {},
    "StringStringEntryProto": {},
}
"""For each message that is walked, the fields with messages that are walked in turn, by number."""

MOST_FIELDS: Final = 5_000_000
"""Fields that are walked at most, about five seconds; a DANet of 101 layers in INT8 has some 100 thousand."""

_DEEPEST: Final = 100  # where protobuf's own parsers give up
_DOMAIN_FIELDS: Final = {"NodeProto": 7, "FunctionProto": 10}
_METADATA_KEY: Final = 1
_TENSOR_NAME, _TENSOR_EXTERNAL_DATA, _TENSOR_DATA_LOCATION = 8, 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_ORT_FORMAT: Final = b"ORTM"  # at bytes 4 to 8: the identifier of a FlatBuffers file
_SHOWN: Final = 120


def check_model_file(model: bytes, origin: str) -> None:
    """Refuse a model file that a library could not take by itself, whole and alone.

    Args:
        model: The content of an ONNX file, or of one with functions alone.
        origin: Name of the model in error messages.

    Raises:
        IntegrityError: It names data outside of it, operators of other domains or options of a library, is of
            another format, or is damaged.
    """
    if model[4:8] == _ORT_FORMAT:
        raise IntegrityError(
            f"{origin}: expected an ONNX model, got one in ONNX Runtime's own format; export the bundle again"
        )
    try:
        _walk(model)
    except IntegrityError as error:
        raise IntegrityError(f"{origin}: {error}") from None


def _walk(model: bytes) -> None:
    waiting = [("ModelProto", memoryview(model), 1)]
    count = 0
    while waiting:
        kind, message, depth = waiting.pop()
        inner = INNER_MESSAGES[kind]
        domain_field = _DOMAIN_FIELDS.get(kind)
        for field in fields(message):
            count += 1
            if field.wire_type == LENGTH and field.number in inner:
                waiting.append((inner[field.number], message[field.value_start : field.end], depth + 1))
            elif field.number == domain_field:
                _check_domain(kind, bytes(message[field.value_start : field.end]))
            elif kind == "TensorProto":
                _check_tensor_field(message, field.number, field.wire_type, field.value_start)
            elif kind == "StringStringEntryProto" and field.number == _METADATA_KEY:
                _check_metadata_key(bytes(message[field.value_start : field.end]))
        if depth > _DEEPEST or count > MOST_FIELDS:
            what = f"nested deeper than {_DEEPEST}" if depth > _DEEPEST else f"of over {MOST_FIELDS} fields"
            raise IntegrityError(f"expected an ONNX model as danet writes it, got one {what}")


def _check_domain(kind: str, domain: bytes) -> None:
    if domain not in DOMAINS:
        what = "a function" if kind == "FunctionProto" else "an operator"
        raise IntegrityError(
            f"expected standard operators and those of the domain danet, got {what} of the domain "
            f"{_text(domain)}, which a library may take for code or a file of its own; export again"
        )


def _check_metadata_key(key: bytes) -> None:
    if key == b"ort_config":
        raise IntegrityError(
            "expected no options for ONNX Runtime in the metadata, got 'ort_config'; export the bundle again"
        )


def _check_tensor_field(tensor: memoryview, number: int, wire_type: int, value_start: int) -> None:
    if number == _TENSOR_EXTERNAL_DATA:
        is_external = True
    elif number == _TENSOR_DATA_LOCATION:
        # What a parser makes of another wire type or of an unknown value, nobody needs to know.
        is_external = wire_type != VARINT or read_varint(tensor, value_start)[0] != 0
    else:
        return
    if is_external:
        raise IntegrityError(
            f"the tensor {_text(_bytes_of(tensor, _TENSOR_NAME))} lies outside of the file, in "
            f"{_text(_location(tensor))}; neither hash nor signature covers that, and nothing reads it: "
            "export the bundle again, with all weights inside the model file"
        )


def _location(tensor: memoryview) -> bytes:
    for field in fields(tensor):
        if (field.number, field.wire_type) == (_TENSOR_EXTERNAL_DATA, LENGTH):
            entry = tensor[field.value_start : field.end]
            if _bytes_of(entry, _ENTRY_KEY) == b"location":
                return _bytes_of(entry, _ENTRY_VALUE)
    return b""


def _bytes_of(message: memoryview, wanted: int) -> bytes:
    value = b""  # an absent one is empty, and of several the last one counts
    for field in fields(message):
        if (field.number, field.wire_type) == (wanted, LENGTH):
            value = bytes(message[field.value_start : field.end])
    return value


def _text(value: bytes) -> str:
    return ascii(value[:_SHOWN].decode("utf-8", "replace"))
