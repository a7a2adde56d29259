"""Networks that ship: what was packed comes back, damage is refused, and each is as its record says."""

import hashlib
import json
import os
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pretrained_networks import NAME, put_pretrained

from danet_train import load_checkpoint, load_pretrained, predict, read_checkpoint, save_checkpoint
from danet_train.errors import CheckpointError, NoCheckpointError, UsageError
from danet_train.pretrained import registry, weights
from danet_train.pretrained.record import PretrainedRecord, read_record
from danet_train.pretrained.registry import (
    checkpoint_help,
    pretrained_files,
    pretrained_name,
    pretrained_names,
)
from danet_train.pretrained.weights import MOST_BYTES, pack, read_pretrained
from danet_train.weights.backbone import load_backbone

ALREADY_SHIPPED = pretrained_names()


@pytest.fixture
def folder(checkpoint_file, tmp_path, monkeypatch):
    """A folder of the package's own with one network, whose attention matters."""
    place = tmp_path / "shipped"
    place.mkdir()
    put_pretrained(place, read_checkpoint(checkpoint_file))
    monkeypatch.setattr(registry, "FOLDER", place)
    return place


def require_sound(name, folder=None):
    """Require of a network what must hold of each one that ships; return its record."""
    record = read_record(name, folder)
    file, _ = pretrained_files(name, folder or registry.FOLDER)
    loaded = read_checkpoint(f"pretrained:{name}")
    assert record.name == name
    assert file.stat().st_size == record.bytes <= MOST_BYTES
    assert loaded.sha256 == record.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert loaded.classes == record.classes
    assert set(record.scores.iou) == set(record.classes.names)
    assert loaded.normalisation == record.normalisation
    assert loaded.model.config.model_dump(mode="json") == record.config
    assert sum(parameter.numel() for parameter in loaded.model.parameters()) == record.parameters
    known = [iou for iou in record.scores.iou.values() if iou is not None]
    assert np.mean(known) == pytest.approx(record.scores.miou, abs=1e-5)
    assert record.scores.labels_kept > 0.999
    assert abs(record.scores.miou - record.scores.miou_before_rounding) < 0.001
    assert {extent % 8 for extent in record.size_hw} in ({0}, {1})
    model = load_pretrained(name)
    assert not model.training
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    assert predict(model, image, loaded.normalisation).max() < len(record.classes)
    return record


def test_each_network_that_ships_loads_and_is_as_its_record_says():
    for name in ALREADY_SHIPPED:
        require_sound(name)


def test_a_packed_network_is_sound_too(folder):
    assert require_sound(NAME).size == "64x96"


def test_what_was_packed_comes_back_with_its_weights_rounded_and_the_rest_as_it_was(folder, checkpoint_file):
    stored = read_pretrained(NAME).state
    original = load_checkpoint(checkpoint_file).state_dict()
    assert set(stored) == set(original)
    for name, tensor in original.items():
        is_weight = tensor.ndim >= 2
        assert stored[name].dtype == (torch.float16 if is_weight else tensor.dtype)
        assert torch.equal(stored[name], tensor.half() if is_weight else tensor)
    loaded = load_pretrained(NAME).state_dict()
    assert all(torch.equal(loaded[name], tensor.to(loaded[name].dtype)) for name, tensor in stored.items())


def test_the_rounding_keeps_the_labels(folder, checkpoint_file):
    original = read_checkpoint(checkpoint_file)
    rounded = load_pretrained(NAME)
    assert not all(
        torch.equal(one, other)
        for one, other in zip(rounded.parameters(), original.model.parameters(), strict=True)
    )
    same = total = 0
    for seed in range(4):
        image = np.random.default_rng(seed).integers(0, 256, (64, 96, 3), np.uint8)
        before, after = (predict(model, image, original.normalisation) for model in (original.model, rounded))
        assert len(np.unique(before)) > 2
        same, total = same + int((before == after).sum()), total + before.size
    assert same / total > 0.995


def test_the_same_network_gives_the_same_bytes(checkpoint_file):
    model = load_checkpoint(checkpoint_file)
    assert pack(model.state_dict()) == pack(model.state_dict())


def test_classes_normalisation_and_notes_come_with_it(folder, checkpoint_file):
    loaded, original = read_checkpoint(f"pretrained:{NAME}"), read_checkpoint(checkpoint_file)
    assert loaded.classes == original.classes
    assert loaded.normalisation == original.normalisation
    assert loaded.metadata == {"pretrained": NAME, "size_hw": [64, 96], "miou": 0.5, "step": 7, "seed": 3}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_a_changed_byte_is_refused_before_anything_is_parsed(folder, place, change):
    file, _ = pretrained_files(NAME, folder)
    good = file.read_bytes()
    bad = bytearray(good)
    bad[int(place * len(bad))] ^= change
    file.write_bytes(bad)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights.safetensors.torch, "load", lambda _data: pytest.fail("it was parsed"))
        with pytest.raises(CheckpointError, match="not the file of its record: expected SHA-256"):
            load_pretrained(NAME)
    file.write_bytes(good)


def change_record(folder, **changes):
    _, file = pretrained_files(NAME, folder)
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, **changes}), encoding="utf-8")


@pytest.mark.parametrize(
    "data", [b"", b"no safetensors", struct.pack("<Q", 2**40) + b"{}", struct.pack("<Q", 2) + b"[]"]
)
def test_a_file_of_its_records_hash_that_is_no_safetensors_is_refused(folder, data):
    pretrained_files(NAME, folder)[0].write_bytes(data)
    change_record(folder, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(CheckpointError, match="no file of safetensors"):
        load_pretrained(NAME)


def test_tensors_of_another_network_are_refused_by_name(folder):
    data = weights.safetensors.torch.save({"weight": torch.zeros(2, 2)})
    pretrained_files(NAME, folder)[0].write_bytes(data)
    change_record(folder, sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(CheckpointError, match=r"^pretrained:tiny: .*begin with 'weight'"):
        load_pretrained(NAME)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "version"),
        ({"planted": 1}, "unknown key 'planted'"),
        ({"sha256": "0"}, "sha256"),
        ({"limits": []}, "limits"),
        ({"size_hw": [360]}, "size_hw"),
    ],
)
def test_a_damaged_record_is_refused_with_what_is_wrong(folder, changes, words):
    change_record(folder, **changes)
    with pytest.raises(CheckpointError, match=words):
        load_pretrained(NAME)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "\x00"])
def test_a_record_that_is_no_json_is_refused(folder, text):
    pretrained_files(NAME, folder)[1].write_text(text)
    with pytest.raises(CheckpointError, match=r"tiny\.json"):
        load_pretrained(NAME)


def test_a_missing_record_is_refused(folder):
    pretrained_files(NAME, folder)[1].unlink()
    with pytest.raises(CheckpointError, match=r"tiny\.json is no record"):
        load_pretrained(NAME)


def test_an_unknown_name_lists_those_that_are_there(folder):
    for ask in (load_pretrained, lambda name: read_checkpoint(f"pretrained:{name}"), read_record):
        with pytest.raises(NoCheckpointError, match=r"'huge'; expected one of: tiny$") as caught:
            ask("huge")
        assert caught.value.exit_code == 2
    for name in ("", "../tiny", "tiny.safetensors", "/etc/passwd"):
        with pytest.raises(NoCheckpointError):
            load_pretrained(name)


def test_without_any_network_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    with pytest.raises(NoCheckpointError, match="none ships with this version"):
        load_pretrained(NAME)
    assert checkpoint_help("A checkpoint.") == "A checkpoint."


def test_help_names_what_ships(folder):
    assert checkpoint_help("A checkpoint.") == "A checkpoint. Or one that ships: pretrained:tiny."


def test_a_file_of_that_very_name_goes_before_the_network(folder, checkpoint_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pretrained_name("pretrained:tiny") == "tiny"
    model = load_checkpoint(checkpoint_file)
    save_checkpoint(tmp_path / "pretrained:tiny", model, metadata={"mine": True})
    assert pretrained_name("pretrained:tiny") is None
    assert read_checkpoint("pretrained:tiny").metadata == {"mine": True}


@pytest.mark.parametrize("path", ["c.pt", "./pretrained:tiny", "a/pretrained:tiny", "Pretrained:tiny", ""])
def test_other_paths_are_files(path):
    assert pretrained_name(path) is None


def test_the_backbone_of_a_network_that_ships_starts_a_training(folder, checkpoint_file):
    model = load_checkpoint(checkpoint_file)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.zero_()
    load_backbone(model.backbone, f"pretrained:{NAME}")
    expected = load_pretrained(NAME).backbone.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.backbone.state_dict().items())


def test_weights_that_are_too_large_a_file_are_not_packed(monkeypatch):
    monkeypatch.setattr(weights, "MOST_BYTES", 4000)
    pack({"fits": torch.zeros(30, 60)})
    with pytest.raises(UsageError, match="at most 4000"):
        pack({"does not": torch.zeros(40, 60)})


def test_a_larger_file_is_refused_unread(folder):
    file, _ = pretrained_files(NAME, folder)
    os.truncate(file, MOST_BYTES + 1)
    with pytest.raises(CheckpointError, match="at most 8000000 bytes"):
        load_pretrained(NAME)


def test_a_weight_beyond_the_range_of_fp16_is_not_packed():
    with pytest.raises(UsageError, match=r"conv\.weight holds weights up to 70000, FP16 at most 65504"):
        pack({"conv.weight": torch.full((2, 2), 7e4)})
    (kept,) = weights.safetensors.torch.load(pack({"bn.running_var": torch.tensor([7e4, 1e-9])})).values()
    assert kept.tolist() == pytest.approx([7e4, 1e-9])


def test_a_record_is_read_as_it_was_written(folder):
    record = read_record(NAME)
    assert PretrainedRecord.model_validate(json.loads(record.text())) == record
