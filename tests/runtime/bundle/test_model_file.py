"""A model file brings nothing from outside with it, whatever ONNX allows and wherever it hides it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from forged_bundles import forge, moved_outside, sign_blindly
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from typer.testing import CliRunner, Result

from danet_runtime import Segmenter
from danet_runtime.backends.onnxruntime_session import open_session
from danet_runtime.bundle import Bundle, SigningKey, read_signing_key, sign_bundle, verify_bundle
from danet_runtime.bundle.model_file import DOMAINS, INNER_MESSAGES, check_model_file
from danet_runtime.bundle.signature import generate_key_pair
from danet_runtime.cli.app import build_app
from danet_runtime.errors import DanetError, IntegrityError

LENGTH, VARINT = 2, 0
EXTERNAL_DATA, DATA_LOCATION = 13, 14


def is_self_contained(message: Message) -> bool:
    """The truth, by the onnx package's own reading of the file."""
    if isinstance(message, TensorProto) and (message.external_data or message.data_location):
        return False
    if isinstance(message, onnx.NodeProto | onnx.FunctionProto) and message.domain.encode() not in DOMAINS:
        return False
    if isinstance(message, onnx.ModelProto) and any(p.key == "ort_config" for p in message.metadata_props):
        return False
    return all(is_self_contained(inner) for inner in _inner(message))


def _inner(message: Message) -> Iterator[Message]:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            yield from [value] if isinstance(value, Message) else value


def is_accepted(model: bytes) -> bool:
    try:
        check_model_file(model, "it")
    except IntegrityError:
        return False
    return True


def test_every_way_to_a_tensor_or_a_node_that_the_schema_has_is_walked() -> None:
    """Held against the descriptors of the onnx package that is installed."""
    wanted = {"TensorProto", "NodeProto", "FunctionProto"}
    reached: dict[str, bool] = {}

    def leads_there(of: Descriptor) -> bool:
        if of.name not in reached:
            reached[of.name] = of.name in wanted
            reached[of.name] |= any(
                leads_there(field.message_type) for field in of.fields if field.message_type
            )
        return reached[of.name]

    def ways(of: Descriptor, seen: set[str]) -> Iterator[tuple[str, int, str]]:
        seen.add(of.name)
        for field in of.fields:
            inner = field.message_type
            if inner is not None and leads_there(inner):
                yield of.name, field.number, inner.name
                if inner.name not in seen:
                    yield from ways(inner, seen)

    leads_there(onnx.ModelProto.DESCRIPTOR)
    needed = set(ways(onnx.ModelProto.DESCRIPTOR, set()))
    assert len(needed) >= 16
    walked = {(of, number, inner) for of, ways in INNER_MESSAGES.items() for number, inner in ways.items()}
    assert needed <= walked
    fields = TensorProto.DESCRIPTOR.fields_by_name
    assert (fields["external_data"].number, fields["data_location"].number) == (EXTERNAL_DATA, DATA_LOCATION)


@st.composite
def tensors(draw: st.DrawFn) -> TensorProto:
    tensor = TensorProto(name=draw(st.text(max_size=4)), data_type=1, dims=[1], raw_data=bytes(4))
    if draw(st.integers(0, 15)) == 0:
        tensor.data_location = TensorProto.EXTERNAL
    if draw(st.integers(0, 15)) == 0:
        tensor.external_data.add(key="location", value="outside.bin")
    return tensor


def sparse(tensor: TensorProto, other: TensorProto) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=tensor, indices=other, dims=[4])


@st.composite
def attributes(draw: st.DrawFn, depth: int) -> onnx.AttributeProto:
    attribute = onnx.AttributeProto(name="a", i=draw(st.integers(-(2**63), 2**63 - 1)))
    kind = draw(st.sampled_from(["", "t", "tensors", "sparse", "sparses", *(["g", "graphs"] * (depth > 0))]))
    if kind == "t":
        attribute.t.CopyFrom(draw(tensors()))
    elif kind == "tensors":
        attribute.tensors.extend(draw(st.lists(tensors(), max_size=2)))
    elif kind == "sparse":
        attribute.sparse_tensor.CopyFrom(sparse(draw(tensors()), draw(tensors())))
    elif kind == "sparses":
        attribute.sparse_tensors.append(sparse(draw(tensors()), draw(tensors())))
    elif kind == "g":
        attribute.g.CopyFrom(draw(graphs(depth - 1)))
    elif kind == "graphs":
        attribute.graphs.append(draw(graphs(depth - 1)))
    return attribute


@st.composite
def nodes(draw: st.DrawFn, depth: int) -> onnx.NodeProto:
    domain = draw(st.sampled_from(["", "", "ai.onnx", "danet", "danet", "com.microsoft"]))
    node = onnx.NodeProto(op_type="Relu", input=["x"], output=["y"], domain=domain)
    node.attribute.extend(draw(st.lists(attributes(depth), max_size=2)))
    return node


@st.composite
def graphs(draw: st.DrawFn, depth: int) -> onnx.GraphProto:
    graph = onnx.GraphProto(name="g", node=draw(st.lists(nodes(depth), max_size=2)))
    graph.initializer.extend(draw(st.lists(tensors(), max_size=2)))
    if draw(st.booleans()):
        graph.sparse_initializer.append(sparse(draw(tensors()), draw(tensors())))
    return graph


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    model = onnx.ModelProto(ir_version=10, graph=draw(graphs(2)))
    model.metadata_props.add(key=draw(st.sampled_from(["author", "author", "ort_config"])), value="{}")
    if draw(st.booleans()):
        model.functions.add(name="f", domain="danet", node=draw(st.lists(nodes(1), max_size=2)))
        model.functions[0].attribute_proto.extend(draw(st.lists(attributes(1), max_size=1)))
    if draw(st.booleans()):
        model.training_info.add(initialization=draw(graphs(1)), algorithm=draw(graphs(0)))
    return model


@settings(max_examples=150, deadline=None)
@given(models())
def test_a_model_is_taken_exactly_where_the_onnx_package_finds_nothing_outside(
    model: onnx.ModelProto,
) -> None:
    assert is_accepted(model.SerializeToString()) == is_self_contained(model)


@settings(max_examples=200, deadline=None)
@given(
    models(),
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=6), st.integers(0, 3)), max_size=4
    ),
)
def test_whatever_bytes_are_changed_nothing_that_protobuf_reads_as_outside_gets_through(
    model: onnx.ModelProto, changes: list[tuple[float, bytes, int]]
) -> None:
    data = model.SerializeToString()
    for where, put, cut in changes:
        at = int(where * len(data))
        data = data[:at] + put + data[at + cut :]
    if not is_accepted(data):
        return
    try:
        read = onnx.ModelProto.FromString(data)
    except DecodeError:
        return
    assert is_self_contained(read)


def varint(value: int) -> bytes:
    found = b""
    while value >= 0x80:
        found, value = found + bytes([value & 0x7F | 0x80]), value >> 7
    return found + bytes([value])


def part(number: int, content: bytes, extra: int = 0) -> bytes:
    return varint(number << 3 | LENGTH | extra) + varint(len(content)) + content


HIDDEN = {
    "the location with upper bits that an enum drops": varint(DATA_LOCATION << 3) + varint(1 << 32 | 1),
    "the location written in ten bytes": varint(DATA_LOCATION << 3) + b"\x81" + b"\x80" * 8 + b"\x00",
    "the location taken back later": varint(DATA_LOCATION << 3)
    + b"\x01"
    + varint(DATA_LOCATION << 3)
    + b"\x00",
    "an unknown location": varint(DATA_LOCATION << 3) + b"\x07",
    "a key of 33 bits": part(EXTERNAL_DATA, b"", extra=1 << 32)
    + varint(DATA_LOCATION << 3 | 1 << 33)
    + b"\x01",
    "a key in six bytes": b"\xf0\x80\x80\x80\x80\x00\x01",
    "a group": b"\x6b\x6c",
    "an empty entry": part(EXTERNAL_DATA, b""),
}


@pytest.mark.parametrize("hidden", HIDDEN.values(), ids=HIDDEN)
def test_a_tensor_outside_is_found_however_it_is_encoded(hidden: bytes) -> None:
    tensor = part(8, b"w") + hidden
    assert is_accepted(part(7, part(5, part(8, b"w"))))
    assert not is_accepted(part(7, part(5, tensor)))
    # A message that occurs twice is united by protobuf.
    attribute = part(5, part(8, b"w")) + part(5, tensor)
    assert not is_accepted(part(7, part(1, part(5, attribute))))


def test_unknown_fields_are_left_alone_and_depth_and_number_are_limited() -> None:
    assert is_accepted(part(7, b"") + part(4000, b"anything") + varint(4001 << 3 | 5) + b"1234")
    deep = b""
    for _ in range(60):
        deep = part(1, part(5, part(6, deep)))  # graph, node, attribute, graph
    with pytest.raises(IntegrityError, match="nested deeper"):
        check_model_file(part(7, deep), "it")


def test_a_file_in_onnx_runtimes_own_format_is_refused_even_as_protobuf(bundle: Bundle) -> None:
    model = bundle.read(bundle.variant("fp32").file)
    disguised = part(2, b"\x00\x00ORTM" + bytes(8)) + model  # a producer's name, and at bytes 4 to 8 ORTM
    assert onnx.ModelProto.FromString(disguised).graph.node
    with pytest.raises(IntegrityError, match="ONNX Runtime's own format"):
        check_model_file(disguised, "it")
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail, match="ORT"):
        onnxruntime.InferenceSession(disguised, providers=["CPUExecutionProvider"])  # it takes it for its own
    assert open_session(disguised).get_inputs()[0].name == "frame"  # told that it is ONNX, it takes the ONNX


def test_a_context_node_that_names_a_compiled_file_is_refused() -> None:
    node = helper.make_node(
        "EPContext", [], ["y"], domain="com.microsoft", embed_mode=0, ep_cache_context="compiled.bin"
    )
    model = helper.make_model(helper.make_graph([node], "g", [], []))
    with pytest.raises(IntegrityError, match=r"domain 'com\.microsoft'"):
        check_model_file(model.SerializeToString(), "it")


@pytest.mark.parametrize("how", ["beside", "absolute", "above"])
def test_the_session_itself_reads_no_file_outside_either(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The second line of defence: by itself ONNX Runtime 1.31 reads the one in the working directory."""
    outside = tmp_path / "outside.bin"
    location = {"beside": None, "absolute": str(outside), "above": "../outside.bin"}[how]
    model = moved_outside(bundle.read(bundle.variant("fp32").file), "weight", outside, location)
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner" if how == "above" else tmp_path)
    with pytest.raises(Exception, match="External data path"):
        open_session(model)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[SigningKey, Path]:
    private, public = generate_key_pair()
    folder = tmp_path_factory.mktemp("keys")
    (folder / "key").write_bytes(private)
    (folder / "key.pub").write_bytes(public)
    return read_signing_key(folder / "key"), folder


@pytest.fixture
def hollow(
    bundle_maker: Callable[..., Bundle],
    tmp_path: Path,
    key: tuple[SigningKey, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """A signed bundle whose weights lie in the working directory; every file of it has its hash."""
    whole = bundle_maker(tmp_path / "whole", precisions=("fp32", "fp16"))
    model = moved_outside(whole.read(whole.variant("fp32").file), "weight", tmp_path / "outside.bin")
    forged = forge(
        whole,
        tmp_path / "hollow",
        dict.fromkeys(("model.fp32.onnx", "model.fp16.onnx"), model),
        lambda manifest: manifest["golden"]["agreement"].update(int8=0.9),
    )
    sign_blindly(forged, key[0])
    monkeypatch.chdir(tmp_path)
    return forged


def test_labels_never_follow_a_file_that_the_signature_does_not_cover(
    hollow: Path, key: tuple[SigningKey, Path], tmp_path: Path
) -> None:
    verdict = verify_bundle(hollow, [key[0].public])
    assert not verdict.whole
    assert "'weight' lies outside of the file, in 'outside.bin'" in verdict.damaged[0]
    with pytest.raises(IntegrityError, match="lies outside of the file"):
        sign_bundle(hollow, key[0], overwrite=True)
    with pytest.raises(IntegrityError, match="lies outside of the file"):
        Bundle.open(hollow, [key[0].public])
    with pytest.raises(IntegrityError, match="lies outside of the file"):
        Segmenter(hollow)
    # Whatever lies there: garbage, or nothing at all.
    (tmp_path / "outside.bin").write_bytes(np.zeros(1 << 20, np.uint8).tobytes())
    with pytest.raises(IntegrityError, match="lies outside of the file"):
        Segmenter(hollow)


def test_a_bundle_with_weights_outside_is_not_even_written(
    bundle: Bundle, bundle_maker: Callable[..., Bundle], tmp_path: Path
) -> None:
    model = moved_outside(bundle.read(bundle.variant("fp32").file), "weight", tmp_path / "outside.bin")
    with pytest.raises(IntegrityError, match="lies outside of the file"):
        bundle_maker(tmp_path / "made", model=model)
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("sign", "BUNDLE", "--key", "KEY", "--overwrite"),
        ("verify", "BUNDLE"),
        ("verify", "BUNDLE", "--trusted-key", "KEY.pub"),
        ("doctor", "BUNDLE"),
        ("run", "BUNDLE", "VIDEO", "-o", "out.mp4"),
        ("run", "BUNDLE", "VIDEO", "-o", "out.mp4", "--trusted-key", "KEY.pub"),
        ("profile", "BUNDLE", "--frames", "1", "--warmup", "0"),
        ("compare", "BUNDLE", "--data", "VIDEO", "--b", "onnxruntime:fp32", "-o", "compared"),
        (
            "compare",
            "BUNDLE",
            "--data",
            "VIDEO",
            "--a",
            "polygraphy:fp32",
            "--b",
            "polygraphy:fp32",
            "-o",
            "c",
        ),
        ("build", "BUNDLE", "--target", "sm_89", "--precision", "fp32", "--engine-dir", "engines"),
        ("calibrate", "BUNDLE", "--data", "PICTURES", "-o", "calibrated"),
    ],
    ids=lambda command: " ".join(command[:1] + command[-2:]),
)
def test_no_command_takes_a_bundle_whose_weights_lie_outside(
    hollow: Path,
    key: tuple[SigningKey, Path],
    command: tuple[str, ...],
    video_maker: Callable[..., Path],
) -> None:
    places = {"BUNDLE": hollow, "KEY": key[1] / "key", "KEY.pub": key[1] / "key.pub"}
    if "VIDEO" in command:
        places["VIDEO"] = video_maker(hollow.parent / "in.mp4", 4)
    if "PICTURES" in command:
        places["PICTURES"] = _pictures(hollow.parent / "pictures")
    done: Result = CliRunner().invoke(build_app(), [str(places.get(word, word)) for word in command])
    assert done.exit_code == 1
    assert done.exception is None or isinstance(done.exception, DanetError | SystemExit), done.exception
    output = " ".join((done.output + str(done.exception)).split())
    assert "lies outside of the file, in 'outside.bin'" in output
    assert not (hollow.parent / "calibrated").exists()


def _pictures(folder: Path) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(20):
        coarse = random.integers(0, 255, (6, 8, 3), np.uint8)
        cv2.imwrite(
            str(folder / f"{number}.png"), cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC)
        )
    return folder


def test_a_file_in_the_folder_that_no_manifest_names_is_never_opened(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strangers are told by verify, refused by sign, and invisible to whoever loads the bundle."""
    shutil.copytree(bundle.path, tmp_path / "b")
    (tmp_path / "b" / "model.fp32.onnx.data").write_bytes(b"x")
    opened: list[str] = []
    real = Bundle.read
    monkeypatch.setattr(Bundle, "read", lambda self, ref: opened.append(ref.path) or real(self, ref))
    with Segmenter(tmp_path / "b") as segmenter:
        assert segmenter.bundle.manifest.classes
    assert set(opened) <= {ref.path for ref in bundle.manifest.files()}
    assert verify_bundle(tmp_path / "b").strangers == ("model.fp32.onnx.data",)
