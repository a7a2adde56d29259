import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danet_train import (
    CITYSCAPES,
    Normalisation,
    build_model,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from danet_train.errors import CheckpointError

SMALL = {
    "base_channels": 4,
    "stem_channels": 6,
    "head_channels": 8,
    "attention_channels": 4,
    "aux_channels": 4,
}

VARIANTS = [
    {"depth": 18},
    {"depth": 34, "aux_channels": None},
    {"depth": 50, "stem": "plain", "num_classes": 7},
    {"depth": 101, "pam": False},
    {"depth": 18, "cam": False},
    {"depth": 18, "pam": False, "cam": False},
    {"depth": 50, "multi_grid": (4, 8, 16), "align_corners": True},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_what_was_saved_comes_back_with_its_architecture_read_off_the_tensors(tmp_path, variant):
    model = build_model(**{**SMALL, **variant}).eval()
    save_checkpoint(tmp_path / "c.pt", model)
    loaded = load_checkpoint(tmp_path / "c.pt")
    asked = model.config if model.config.pam else model.config.model_copy(update={"attention_channels": 64})
    assert loaded.config == asked
    assert not loaded.training
    x = torch.randn(1, 3, 24, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), model(x), rtol=0, atol=0)


def test_classes_normalisation_and_metadata_come_back(tmp_path):
    model = build_model(18, **SMALL)
    normalisation = Normalisation(mean=(1, 2, 3), std=(4, 5, 6))
    save_checkpoint(
        tmp_path / "c.pt",
        model,
        classes=CITYSCAPES,
        normalisation=normalisation,
        metadata={"step": 7, "miou": 0.5},
    )
    loaded = read_checkpoint(tmp_path / "c.pt")
    assert loaded.classes == CITYSCAPES
    assert loaded.normalisation == normalisation
    assert loaded.metadata == {"step": 7, "miou": 0.5}
    assert len(loaded.sha256) == 64


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = build_model(18, **SMALL)
    for name in ("a.pt", "b.pt"):
        save_checkpoint(tmp_path / name, model)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_a_bare_state_dict_and_a_half_precision_one_are_read(tmp_path):
    model = build_model(18, **SMALL)
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
    }
    torch.save({"state_dict": state}, tmp_path / "c.pt")
    loaded = read_checkpoint(tmp_path / "c.pt")
    assert loaded.classes is None
    assert next(loaded.model.parameters()).dtype == torch.float32


def test_the_class_names_that_mmsegmentation_notes_are_read(tmp_path):
    model = build_model(18, **SMALL, num_classes=2)
    meta = {"CLASSES": ("road", "car"), "PALETTE": [[128, 64, 128], [0, 0, 142]]}
    torch.save({"meta": meta, "state_dict": model.state_dict()}, tmp_path / "c.pt")
    classes = read_checkpoint(tmp_path / "c.pt").classes
    assert classes is not None
    assert classes.names == ("road", "car")


def _altered(tmp_path, change):
    state = dict(build_model(18, **SMALL).state_dict())
    change(state)
    torch.save({"state_dict": state}, tmp_path / "c.pt")
    return tmp_path / "c.pt"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("decode_head.conv_seg.bias"), r"1 missing \(decode_head.conv_seg.bias\)"),
        (lambda s: s.update({"fc.weight": torch.zeros(1)}), r"1 unexpected \(fc.weight\)"),
        (lambda s: s.update({"backbone.stem.3.weight": torch.zeros(5, 5, 3, 3)}), "must have the shape"),
        (lambda s: s["decode_head.conv_seg.bias"].fill_(float("nan")), "not finite"),
        (lambda s: s.pop("backbone.layer1.0.conv1.weight"), "backbone.layer1.0.conv1.weight"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("backbone.layer3.1")], "basic blocks"),
        (lambda s: s.clear(), "lacks"),
    ],
)
def test_every_tensor_is_accounted_for(tmp_path, change, message):
    path = _altered(tmp_path, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


def test_another_network_is_refused_with_the_names_it_has(tmp_path):
    torch.save({"state_dict": torch.nn.Linear(2, 2).state_dict()}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"'weight', 'bias'"):
        load_checkpoint(tmp_path / "c.pt")


def test_a_missing_file_and_a_later_version_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "none.pt")
    torch.save({"format": "danet-checkpoint", "version": 2, "state_dict": {}}, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match="version 2"):
        load_checkpoint(tmp_path / "c.pt")


class _Planted:
    def __reduce__(self):
        return (Path.touch, (Path("planted"),))


def test_code_in_a_checkpoint_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "meta": _Planted()}, "c.pt")
    Path("raw.pt").write_bytes(pickle.dumps(_Planted()))
    for name in ("c.pt", "raw.pt"):
        with pytest.raises(CheckpointError, match=r"can run code; have it saved again as \{'state_dict'"):
            load_checkpoint(name)
    assert not Path("planted").exists()


@pytest.mark.parametrize("data", [b"", b"a text file\n", b"\x89PNG\r\n", b"{}", b"Unsupported"])
def test_a_file_of_another_kind_is_said_to_be_no_checkpoint(tmp_path, data):
    (tmp_path / "c.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match="is no checkpoint: expected a file") as caught:
        load_checkpoint(tmp_path / "c.pt")
    assert "weights_only" not in str(caught.value)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400))
def test_whatever_bytes_a_file_holds_the_answer_is_a_checkpoint_error(tmp_path, data):
    (tmp_path / "c.pt").write_bytes(data)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "c.pt")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 0.999), flip=st.booleans())
def test_a_cut_off_checkpoint_is_refused(tmp_path, part, flip):
    path = tmp_path / "whole.pt"
    if not path.exists():
        save_checkpoint(path, build_model(18, **SMALL))
    data = path.read_bytes()
    cut = data[: int(part * len(data))]
    (tmp_path / "c.pt").write_bytes(cut[::-1] if flip else cut)
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "c.pt")


def test_a_class_table_of_another_length_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(CheckpointError, match="5 classes"):
        save_checkpoint(tmp_path / "c.pt", build_model(18, **SMALL, num_classes=5), classes=CITYSCAPES)
    assert list(tmp_path.iterdir()) == []
