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
from hypothesis import given, settings
from hypothesis import strategies as st

from danet_train import build_model, read_checkpoint
from danet_train.errors import CheckpointError
from danet_train.weights.backbone import load_backbone
from danet_train.weights.reading.storage import read_stored
from danet_train.weights.reading.wrappings import unwrapped


def _holds(loaded, state):
    held = loaded.model.state_dict()
    return held.keys() == state.keys() and all(torch.equal(held[name], state[name]) for name in held)


OLD = {"_use_new_zipfile_serialization": False}
RUNNER = (files.runner_content, files.IN_1X, files.save_runner)
FORMS = {
    "0.x, old pickle": (files.content_of_0x, files.IN_0X, torch.save, OLD),
    "0.x, zip": (files.content_of_0x, files.IN_0X, torch.save, {}),
    "0.x, published, old pickle": (
        lambda *a, **k: files.published(files.content_of_0x(*a, **k)),
        files.IN_0X,
        torch.save,
        OLD,
    ),
    "1.x, published": (
        lambda *a, **k: files.published(files.runner_content(*a, **k)),
        files.IN_1X,
        files.save_runner,
        {},
    ),
    "1.x, Runner's": (*RUNNER, {}),
    "1.x, Runner's, old pickle": (*RUNNER, OLD),
    "1.x, Runner's, protocol 4": (*RUNNER, {"pickle_protocol": 4}),
    "1.x, Runner's, protocol 5": (*RUNNER, {"pickle_protocol": 5}),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_mmsegmentations_files_imports_whole(tmp_path, state, form):
    content, details, save, how = FORMS[form]
    path = tmp_path / "danet.pth"
    if save is torch.save:
        torch.save(content(state, **details), path, **how)
    else:
        save(path, content(state, **details), **how)
    loaded, notes = files.read(path)
    assert _holds(loaded, state)
    assert loaded.model.config.align_corners is True
    assert "align_corners is True, as the file's own configuration says (meta." in notes
    assert loaded.classes.names == files.NAMES  # as the file has them
    assert [list(color) for color in loaded.classes.colors] == files.PALETTE
    if "Runner" in form:
        assert "mmengine.logging.history_buffer.HistoryBuffer (2)" in notes


def test_values_of_numpy_become_plain_and_a_histories_tensors_are_left_out(tmp_path, state):
    content = files.runner_content(state, **files.IN_1X)
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


@pytest.mark.slow
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
    assert _holds(files.read(tmp_path / "c.pth")[0], state)
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


WRITTEN = {"zip": {}, "old pickle": OLD, "protocol 4": {"pickle_protocol": 4}}


@pytest.mark.parametrize(
    ("attack", "how"),
    [
        pytest.param(
            attack,
            WRITTEN[how],
            id=f"{how}-{attack}",
            marks=[pytest.mark.slow] if how != "zip" and attack not in ("pathlib", "import") else [],
        )
        for how in WRITTEN
        for attack in ATTACKS
    ],
)
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
            _, message = files.read("c.pth")
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "before", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "model.module."]
)
@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", None])
def test_a_wrapped_networks_file_imports(tmp_path, state, before, key):
    wrapped = {before + name: value for name, value in state.items()}
    torch.save(wrapped if key is None else {key: wrapped, "epoch": 3}, tmp_path / "c.pth")
    assert _holds(files.read(tmp_path / "c.pth")[0], state)


def test_a_wrapped_backbone_starts_a_training(tmp_path, network):
    held = network.backbone.state_dict()
    torch.save(
        {"model": {f"module._orig_mod.{name}": value + 1 for name, value in held.items()}}, tmp_path / "b.pth"
    )
    other = build_model(18, **files.SMALL, stem_channels=4, num_classes=2).backbone
    load_backbone(other, tmp_path / "b.pth")
    assert all(torch.equal(value, held[name] + 1) for name, value in other.state_dict().items())


def test_two_names_that_become_one_are_refused(tmp_path, state):
    torch.save({**state, "decode_head.module.conv_seg.bias": torch.ones(2)}, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=r"would be the same tensor, 'decode_head.conv_seg.bias'"):
        files.read(tmp_path / "c.pth")


def test_averaged_weights_beside_are_left_out_and_that_is_said(tmp_path, state):
    second = {f"module.{name}": value + 1 for name, value in state.items()}
    torch.save(
        {"state_dict": state, "ema_state_dict": {**second, "steps": torch.tensor(9)}}, tmp_path / "1.pth"
    )
    loaded, notes = files.read(tmp_path / "1.pth")
    assert _holds(loaded, state)
    assert "the second set of weights, under 'ema_state_dict'" in notes
    flat = {"ema_" + name.replace(".", "_"): value + 1 for name, value in state.items()}
    torch.save({"state_dict": {**state, **flat}}, tmp_path / "0.pth")
    loaded, notes = files.read(tmp_path / "0.pth")
    assert _holds(loaded, state)
    assert f"left out: {len(flat)} tensors of a second set of weights" in notes
    torch.save({**second, "n_averaged": torch.tensor(9)}, tmp_path / "swa.pth")
    loaded, notes = files.read(tmp_path / "swa.pth")
    assert _holds(loaded, {name: value + 1 for name, value in state.items()})
    assert "left out: n_averaged, counters of averaging" in notes


def test_a_whole_network_stored_as_an_object_is_refused_with_what_to_do(tmp_path, network):
    torch.save(network, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match="can run code; have it saved again as"):
        files.read(tmp_path / "c.pth")


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
