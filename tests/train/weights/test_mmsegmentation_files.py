import collections
import copy
import os
import pathlib
import pickle
import subprocess
import sys

import mmsegmentation_files as files
import numpy as np
import pytest
import torch
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from danet_train import build_model, read_checkpoint
from danet_train.classes import ClassTable, find_classes, first_difference
from danet_train.cli.evaluate import evaluate
from danet_train.config.inheritance import find_config, packaged_names
from danet_train.config.sections import EvaluationConfig
from danet_train.errors import CheckpointError, DataError
from danet_train.evaluation.scoring import check_classes_agree, check_splits_agree
from danet_train.evaluation.test_time_augmentation import scaled_size
from danet_train.evaluation.upsampling import aligns_corners
from danet_train.weights.backbone import load_backbone
from danet_train.weights.mmseg_settings import settings_of_meta
from danet_train.weights.reading.storage import read_stored
from danet_train.weights.reading.wrappings import unwrapped

MMSEGMENTATIONS = ("cityscapes_r", "ade20k", "voc2012")
SMALL = {"base_channels": 4, "head_channels": 8, "attention_channels": 4, "aux_channels": 4}
NAMES, PALETTE = ("road", "bed "), [[128, 64, 128], [204, 5, 255]]
IN_0X = {"names": list(NAMES), "palette": PALETTE, "text": files.config_text(True, old=True)}
IN_1X = {"names": NAMES, "palette": PALETTE, "text": files.config_text(True)}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_model(18, **SMALL, stem_channels=4, num_classes=2)


@pytest.fixture
def state(network):
    return collections.OrderedDict(network.state_dict())


def _read(path):
    notes = []
    return read_checkpoint(path, say=notes.append), "\n".join(notes)


def _holds(loaded, state):
    held = loaded.model.state_dict()
    return held.keys() == state.keys() and all(torch.equal(held[name], state[name]) for name in held)


OLD = {"_use_new_zipfile_serialization": False}
FORMS = {
    "0.x, old pickle": (files.content_of_0x, IN_0X, torch.save, OLD),
    "0.x, zip": (files.content_of_0x, IN_0X, torch.save, {}),
    "0.x, published, old pickle": (
        lambda *a, **k: files.published(files.content_of_0x(*a, **k)),
        IN_0X,
        torch.save,
        OLD,
    ),
    "1.x, published": (
        lambda *a, **k: files.published(files.runner_content(*a, **k)),
        IN_1X,
        files.save_runner,
        {},
    ),
    "1.x, Runner's": (files.runner_content, IN_1X, files.save_runner, {}),
    "1.x, Runner's, old pickle": (files.runner_content, IN_1X, files.save_runner, OLD),
    "1.x, Runner's, protocol 4": (files.runner_content, IN_1X, files.save_runner, {"pickle_protocol": 4}),
    "1.x, Runner's, protocol 5": (files.runner_content, IN_1X, files.save_runner, {"pickle_protocol": 5}),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_mmsegmentations_files_imports_whole(tmp_path, state, form):
    content, details, save, how = FORMS[form]
    path = tmp_path / "danet.pth"
    if save is torch.save:
        torch.save(content(state, **details), path, **how)
    else:
        save(path, content(state, **details), **how)
    loaded, notes = _read(path)
    assert _holds(loaded, state)
    assert loaded.model.config.align_corners is True
    assert "align_corners is True, as the file's own configuration says (meta." in notes
    assert loaded.classes.names == NAMES  # as the file has them
    assert [list(color) for color in loaded.classes.colors] == PALETTE
    if "Runner" in form:
        assert "mmengine.logging.history_buffer.HistoryBuffer (2)" in notes


def test_values_of_numpy_become_plain_and_a_histories_tensors_are_left_out(tmp_path, state):
    content = files.runner_content(state, **IN_1X)
    content["meta"]["grid"] = np.arange(6, dtype=">i2").reshape(2, 3)
    content["message_hub"]["runtime_info"]["average"] = _Thing(torch.ones(3))
    for how in ({}, OLD):
        files.save_runner(tmp_path / "c.pth", content, **how)
        held = read_stored(tmp_path / "c.pth").content
        assert held["meta"]["seed"] == 304
        assert held["meta"]["hook_msgs"]["best_score"] == 0.7934
        assert held["meta"]["grid"] == [[0, 1, 2], [3, 4, 5]]
        assert held["param_schedulers"][0]["_last_value"] == [1e-4]
        assert held["message_hub"]["runtime_info"]["average"] is None
        assert torch.equal(held["optimizer"]["state"][1]["momentum_buffer"], torch.zeros(3))


class _Thing:
    def __init__(self, held):
        self.held = held


class _Settings(dict):
    """A mapping of a class of its own, as addict's, easydict's and yacs'."""

    def __getattr__(self, name):
        return self[name]


@pytest.mark.parametrize(
    "beside",
    [
        _Thing(3),
        _Settings(lr=0.1, more=_Settings(steps=[1, 2])),
        collections.defaultdict(list, {"a": [1]}),
        collections.deque([1, 2]),
        pathlib.PurePosixPath("work_dirs"),
        {1, 2},
        np.random.default_rng(0),
        torch.float32,
        torch.Size([2, 3]),
        np.dtype("f4"),
        len,
    ],
    ids=lambda beside: type(beside).__name__,
)
@pytest.mark.parametrize("how", [{}, OLD], ids=["zip", "old pickle"])
def test_whatever_else_a_trainer_stored_does_not_keep_the_weights(tmp_path, state, beside, how):
    torch.save({"state_dict": state, "beside": beside, "list": [beside, 7]}, tmp_path / "c.pth", **how)
    assert _holds(_read(tmp_path / "c.pth")[0], state)
    assert read_stored(tmp_path / "c.pth").content["list"][1] == 7


def test_parameters_half_precision_and_shared_tensors_stay_what_they_are(tmp_path, network, state):
    held = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    held["decode_head.pam_conv_seg.bias"] = held["decode_head.cam_conv_seg.bias"]
    parameter = torch.nn.Parameter(held["decode_head.conv_seg.bias"])
    parameter.register_hook(print)
    held["decode_head.conv_seg.bias"] = parameter
    torch.save({"state_dict": held, "beside": _Thing(1)}, tmp_path / "c.pth")
    came = read_stored(tmp_path / "c.pth").state
    assert all(
        came[name].dtype == value.dtype and torch.equal(came[name], value) for name, value in held.items()
    )


# Nothing of a file runs.


class _Planted:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return (self.call, self.arguments)


ATTACKS = {
    "os.system": (os.system, "touch planted"),
    "subprocess": (subprocess.check_call, ["touch", "planted"]),
    "eval": (eval, "open('planted', 'w')"),  # noqa: S307 - never called, or the test fails
    "exec": (exec, "open('planted', 'w')"),
    "pathlib": (pathlib.Path.touch, pathlib.Path("planted")),
    "numpy": (np.save, "planted", 1),
    "numpy's compiler": (np.memmap, "planted", "uint8", "w+", 0, 8),
    "torch": (torch.save, 1, "planted"),
    "torch.hub": (torch.hub.set_dir, "planted"),
    "map": (list, map(pathlib.Path.touch, [pathlib.Path("planted")])),
    "import": (__import__, "antigravity"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("how", [{}, OLD, {"pickle_protocol": 4}], ids=["zip", "old pickle", "protocol 4"])
def test_a_hostile_file_runs_nothing_and_imports_nothing(tmp_path, state, monkeypatch, attack, how):
    monkeypatch.chdir(tmp_path)
    for at in ("beside", "in meta", "as a tensor"):
        planted = _Planted(*copy.copy(ATTACKS[attack]))
        content = {"state_dict": dict(state), "meta": {}, "beside": None}
        if at == "as a tensor":
            content["state_dict"]["decode_head.conv_seg.bias"] = planted
        else:
            content["meta" if at == "in meta" else "beside"] = planted
        torch.save(content, "c.pth", **how)
        before = set(sys.modules)
        message = ""
        try:
            _, message = _read("c.pth")
        except CheckpointError as error:
            message = f"refused: {error}"
        assert "can run code" in message
        assert at != "as a tensor" or message.startswith("refused")
        assert set(sys.modules) == before
        assert not pathlib.Path("planted").exists()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 400))
def test_no_pickle_whatever_its_bytes_does_more_than_read(tmp_path_factory, junk, at):
    whole = pickle.dumps(
        {"state_dict": {"a": _Thing(1)}, "b": _Planted(pathlib.Path.touch, pathlib.Path("p"))}, 2
    )
    at = min(at, len(whole))
    head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    path = tmp_path_factory.getbasetemp() / "junk.pth"
    path.write_bytes(head + whole[:at] + junk + whole[at:])
    before = set(sys.modules)
    with pytest.raises(CheckpointError):
        read_stored(path)
    assert set(sys.modules) == before
    assert not pathlib.Path("p").exists()


# Wrapped networks.


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["module", "_orig_mod", "model", "net", "_fsdp_wrapped_module"]), max_size=4),
    st.lists(st.sampled_from(["module", "_orig_mod", "_checkpoint_wrapped_module"]), max_size=2),
)
def test_wrappings_in_any_order_and_nesting_leave_the_names_of_the_network(before, between):
    names = ["backbone.stem.0.weight", "decode_head.pam.gamma.scale", "auxiliary_head.conv_seg.bias"]
    wrapped = {}
    for index, name in enumerate(names):
        first, *rest = name.split(".")
        wrapped[".".join((*before, first, *between, *rest))] = torch.tensor(index)
    state, notes = unwrapped(wrapped)
    assert list(state) == names
    assert [int(value) for value in state.values()] == [0, 1, 2]
    assert notes == ()


@pytest.mark.parametrize(
    "before", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "model.module."]
)
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", None])
def test_a_wrapped_networks_file_imports(tmp_path, state, before, key):
    wrapped = {before + name: value for name, value in state.items()}
    torch.save(wrapped if key is None else {key: wrapped, "epoch": 3}, tmp_path / "c.pth")
    assert _holds(_read(tmp_path / "c.pth")[0], state)


def test_a_wrapped_backbone_starts_a_training(tmp_path, network):
    held = network.backbone.state_dict()
    torch.save(
        {"model": {f"module._orig_mod.{name}": value + 1 for name, value in held.items()}}, tmp_path / "b.pth"
    )
    other = build_model(18, **SMALL, stem_channels=4, num_classes=2).backbone
    load_backbone(other, tmp_path / "b.pth")
    assert all(torch.equal(value, held[name] + 1) for name, value in other.state_dict().items())


def test_two_names_that_become_one_are_refused(tmp_path, state):
    torch.save({**state, "decode_head.module.conv_seg.bias": torch.ones(2)}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=r"would be the same tensor, 'decode_head.conv_seg.bias'"):
        _read(tmp_path / "c.pth")


def test_averaged_weights_beside_are_left_out_and_that_is_said(tmp_path, state):
    second = {f"module.{name}": value + 1 for name, value in state.items()}
    torch.save(
        {"state_dict": state, "ema_state_dict": {**second, "steps": torch.tensor(9)}}, tmp_path / "1.pth"
    )
    loaded, notes = _read(tmp_path / "1.pth")
    assert _holds(loaded, state)
    assert "the second set of weights, under 'ema_state_dict'" in notes
    flat = {"ema_" + name.replace(".", "_"): value + 1 for name, value in state.items()}
    torch.save({"state_dict": {**state, **flat}}, tmp_path / "0.pth")
    loaded, notes = _read(tmp_path / "0.pth")
    assert _holds(loaded, state)
    assert f"left out: {len(flat)} tensors of a second set of weights" in notes
    torch.save({**second, "n_averaged": torch.tensor(9)}, tmp_path / "swa.pth")
    loaded, notes = _read(tmp_path / "swa.pth")
    assert _holds(loaded, {name: value + 1 for name, value in state.items()})
    assert "left out: n_averaged, counters of averaging" in notes


def test_a_whole_network_stored_as_an_object_is_refused_with_what_to_do(tmp_path, network):
    torch.save(network, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match="can run code; have it saved again as"):
        _read(tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda model, path: torch.save({"model": model, "epoch": 3}, path), "have it saved again as"),
        (
            lambda model, path: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path),
            "is a program of torch.jit.save",
        ),
        (
            lambda model, path: path.write_bytes(
                (66).to_bytes(8, "little") + b'{"a": 0}'.ljust(66) + b"\0" * 8
            ),
            "is a file of safetensors",
        ),
    ],
    ids=["a dict with a module", "TorchScript", "safetensors"],
)
def test_other_forms_of_weights_are_named_with_what_to_do(tmp_path, network, write, words):
    write(network, tmp_path / "it.pt")
    with pytest.raises(CheckpointError, match=rf"it\.pt .*{words}.*state_dict"):
        read_checkpoint(tmp_path / "it.pt")


# The file's own configuration.


@pytest.mark.parametrize(
    ("text", "align", "words"),
    [
        (files.config_text(True, old=True), True, "as the file's own configuration says"),
        (files.config_text(False), False, "as the file's own configuration says"),
        (files.config_text(True, besides="x = <object at 0x7f>"), True, "found in the text"),
        (files.config_text(True, besides="hooks = [print(1), lambda: 2]"), True, "own configuration says"),
        (files.config_text("False, **{'a': 1}"), False, "own configuration says"),
        (files.config_text("flag", besides="flag = True"), True, "own configuration says"),
        (files.config_text("f(1)"), None, "could not be read"),
        ("model = dict(decode_head=dict(type='DAHead', num_classes=2))", False, "mmsegmentation's default"),
        ("_base_ = ['danet.py']\nmodel = dict(decode_head=dict(type='DAHead'))", None, "could not be read"),
        ("_base_ = ['danet.py']\nmodel = dict(decode_head=dict(align_corners=True))", True, "own conf"),
        ('{"model": {"decode_head": {"align_corners": true}}}', True, "found in the text"),
        ("align_corners=True <broken> align_corners=False", None, "says both True and False"),
        ("(" * 5000, None, "could not be read"),
        ("model = " + "-" * 100_000 + "1", None, "could not be read"),
        ("model = " + "dict(a=" * 150 + "1" + ")" * 150, None, "could not be read"),
        ("x = 1", None, "could not be read"),
    ],
)
@pytest.mark.parametrize("key", ["cfg", "config"])
def test_align_corners_is_read_from_the_files_own_configuration_with_a_note(text, align, words, key):
    found = settings_of_meta({key: text})
    assert found.align_corners is align
    assert words in "\n".join(found.notes)
    assert f"meta.{key}" in "\n".join(found.notes)


def test_a_configuration_is_never_run(tmp_path, state, monkeypatch):
    monkeypatch.chdir(tmp_path)
    besides = "import pathlib\npathlib.Path('planted').touch()\nx = pathlib.Path('planted').touch()"
    meta = {"cfg": files.config_text("[pathlib.Path('planted').touch(), True][1]", besides=besides)}
    torch.save({"state_dict": state, "meta": meta}, "c.pth")
    loaded, notes = _read("c.pth")
    assert loaded.model.config.align_corners is None
    assert "could not be read" in notes
    assert not pathlib.Path("planted").exists()


def test_the_callers_word_stands_over_the_files(tmp_path, state):
    path = tmp_path / "c.pth"
    torch.save(files.content_of_0x(state, **IN_0X), path)
    notes = []
    loaded = read_checkpoint(path, align_corners=False, say=notes.append)
    assert loaded.model.config.align_corners is False
    assert notes == []


@pytest.mark.parametrize("size", [(97, 97), (96, 96)])
def test_a_769_row_keeps_its_aligned_corners_at_any_size(tmp_path, state, size):
    torch.save(files.content_of_0x(state, **IN_0X), tmp_path / "c.pth")
    loaded, _ = _read(tmp_path / "c.pth")
    assert aligns_corners(loaded.model.config.align_corners, size) is True
    torch.save({"state_dict": state}, tmp_path / "bare.pth")
    bare, notes = _read(tmp_path / "bare.pth")
    assert aligns_corners(bare.model.config.align_corners, size) is (size == (97, 97))
    assert "assumed: logits are upsampled by the rule of the input's size" in notes


def test_what_else_no_tensor_tells_is_read_or_refused():
    found = settings_of_meta({"cfg": files.config_text(True, backbone=", multi_grid=(4, 8)")})
    assert found.multi_grid == (4, 8)
    assert any("layer4 has the dilations 4,8" in note for note in found.notes)
    text = files.config_text(True).replace("mean=[123.675", "mean=[100.0")
    assert settings_of_meta({"cfg": text}).normalisation.mean == (100.0, 116.28, 103.53)
    for wrong, message in (
        (("strides=(1, 2, 1, 1)", "strides=(1, 2, 2, 1)"), r"backbone.strides \(1, 2, 2, 1\)"),
        (("style='pytorch'", "style='caffe'"), "backbone.style 'caffe'"),
        (("contract_dilation=True", "contract_dilation=False"), "backbone.contract_dilation False"),
        (("bgr_to_rgb=True", "bgr_to_rgb=False"), "pictures in BGR"),
    ):
        with pytest.raises(CheckpointError, match=message):
            settings_of_meta({"cfg": files.config_text(True).replace(*wrong)})


def test_classes_without_a_palette_keep_their_names(tmp_path, state):
    torch.save({"state_dict": state, "meta": {"CLASSES": NAMES, "PALETTE": None}}, tmp_path / "c.pth")
    assert _read(tmp_path / "c.pth")[0].classes.names == NAMES


# What 1.2.2 does otherwise, and the table of ADE20K.


@pytest.mark.parametrize(
    ("size_hw", "scale", "expected"),
    [((694, 695), 1.75, (1214, 1216)), ((695, 694), 1.75, (1216, 1214)), ((375, 500), 0.5, (188, 250))],
)
def test_a_pictures_own_size_times_a_scale_is_rounded_as_mmcv_rounds(size_hw, scale, expected):
    assert scaled_size(size_hw, scale, EvaluationConfig()) == expected


@pytest.mark.parametrize("name", [name for name in packaged_names() if name.startswith(MMSEGMENTATIONS)])
def test_each_published_row_says_where_mmsegmentation_1_2_2_differs(name):
    text = find_config(name).read_text(encoding="utf-8")
    assert "docs/mmsegmentation.md" in text
    assert "1.2.2 by one less" in text
    assert ("in 1.2.2 before it (black)" in " ".join(text.split("\n# "))) == name.startswith("voc2012")
    table = (pathlib.Path(__file__).parents[3] / "docs" / "mmsegmentation.md").read_text(encoding="utf-8")
    for words in ("padding of a picture", "1216x1214", "(1 - i / n) ** 0.9"):
        assert words in table


def test_white_space_around_names_of_classes_says_nothing_and_stays():
    packaged = find_classes("ade20k")
    names = tuple("bed " if name == "bed" else name for name in packaged.names)
    spaced = ClassTable(names=names, colors=packaged.colors)
    assert spaced.names[7] == "bed "
    check_classes_agree(spaced, 150, packaged)
    check_splits_agree(spaced, packaged)
    assert first_difference(names, packaged.names) is None
    other = packaged.model_copy(update={"names": (*packaged.names[:9], "lawn", *packaged.names[10:])})
    with pytest.raises(DataError, match="class 9 is 'grass' in the checkpoint, but 'lawn' in the dataset"):
        check_classes_agree(spaced, 150, other)


def test_ade20ks_row_is_scored_with_mmsegmentations_own_names(tmp_path):
    packaged = find_classes("ade20k")
    names = ["bed " if name == "bed" else name for name in packaged.names]
    state = build_model(18, **SMALL, stem_channels=4, num_classes=150).state_dict()
    details = {
        "names": names,
        "palette": [list(color) for color in packaged.colors],
        "text": files.config_text(False),
    }
    torch.save(files.content_of_0x(state, **details), tmp_path / "ade.pth")
    for folder, values in (("images", (40, 40, 3)), ("annotations", (40, 40))):
        place = tmp_path / "ADEChallengeData2016" / folder / "validation"
        place.mkdir(parents=True)
        kind = "jpg" if folder == "images" else "png"
        pixels = np.full(values, 8, np.uint8)
        pixels[:20] = 4
        Image.fromarray(pixels).save(place / f"ADE_val_00000001.{kind}")
    app = typer.Typer()
    app.command()(evaluate)
    arguments = [tmp_path / "ade.pth", "--data", tmp_path / "ADEChallengeData2016", "--device", "cpu"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    assert "mIoU" in result.output
