import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from authors_network import authors_file, literal_logits, saved

from danet_train import build_model, load_checkpoint, read_checkpoint
from danet_train.errors import CheckpointError
from danet_train.model.architecture import infer_config
from danet_train.model.danet import DANet
from danet_train.weights.authors import translate_authors
from danet_train.weights.backbone import load_backbone
from danet_train.weights.mmseg import mmseg_settings, save_mmseg
from danet_train.weights.reading.storage import read_stored

REPOSITORY = Path(__file__).resolve().parents[3]
KEY_LISTS = REPOSITORY.parent / "shared" / "reference" / "checkpoint_keys"
LISTS = [
    "author2018_r50",
    "author2018_r101_mg4816",
    "author2020_r50_deepstem",
    "author2020_r50_nodeepstem_mg4816",
    "author2020_r101_deepstem",
    "author2020_r101_nodeepstem_mg4816",
    "mmseg_danet_r18",
    "mmseg_danet_r50",
    "mmseg_danet_r101",
    "mmseg_danet_tiny",
]
SMALL = {"base_channels": 4, "head_channels": 8, "attention_channels": 4, "aux_channels": 4}


@pytest.mark.parametrize(
    ("kind", "multi_grid"),
    [
        ({"deep": True}, [2, 4, 4]),
        ({"deep": False}, [4, 8, 16]),
        ({"deep": False, "fc": True}, [2, 4, 4]),
    ],
    ids=["deep stem", "plain stem", "plain stem of 2018"],
)
def test_the_authors_network_gives_the_logits_of_its_equations(tmp_path, kind, multi_grid):
    state = authors_file(**kind)
    torch.save({"state_dict": state}, tmp_path / "danet.pth.tar")
    model = load_checkpoint(tmp_path / "danet.pth.tar")
    x = torch.randn(1, 3, 56, 72)
    double = {name: tensor.double() for name, tensor in state.items()}
    with torch.no_grad():
        expected = literal_logits(double, x.double(), multi_grid)
        assert expected.std() > 0.05  # they depend on the picture
        torch.testing.assert_close(model(x).double(), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.double()(x.double()), expected, rtol=1e-10, atol=1e-10)
        other = literal_logits(double, x.double(), [2, 4, 4] if multi_grid == [4, 8, 16] else [4, 8, 16])
    assert (other - expected).abs().max() > 1e-3  # the dilations matter


# The published files' names.


def _listed(name):
    path = KEY_LISTS / f"{name}_keys.txt"
    if not path.is_file():
        pytest.skip(f"the names of published files are not at {path}")
    rows = [line.split("\t") for line in path.read_text().splitlines() if line.strip()]
    return {key: (tuple(json.loads(f"[{shape.strip('(,)')}]")), dtype) for key, shape, dtype in rows}


def _narrow(size, listing):
    return size if listing == "mmseg_danet_tiny" or size < 32 else size // 16


def _narrow_file(name):
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, (shape, dtype) in _listed(name).items():
        narrow = tuple(_narrow(size, name) for size in shape)
        if dtype == "int64":
            state[key] = torch.tensor(3)
        else:
            assert dtype == "float32"
            state[key] = torch.rand(narrow, generator=generator)
    return state


@pytest.mark.slow
@pytest.mark.parametrize(
    "listing",
    [
        pytest.param(
            listing, marks=[pytest.mark.slow] if "r101" in listing and "mg4816" not in listing else []
        )
        for listing in LISTS
    ],
)
def test_a_published_files_names_go_in_and_out_and_in_again_bit_for_bit(tmp_path, listing):
    state = _narrow_file(listing)
    torch.save({"meta": {}, "state_dict": state}, tmp_path / "published.pth")
    notes = []
    first = read_checkpoint(tmp_path / "published.pth", say=notes.append)
    assert first.model.config.depth == next((d for d in (18, 101) if f"_r{d}" in listing), 50)
    authors = listing.startswith("author")
    if authors:
        assert (first.model.config.multi_grid == (4, 8, 16)) == ("mg4816" in listing)
        assert any("assumed: layer4" in note for note in notes)
    else:
        assert len(notes) == 1
        assert "assumed: logits are upsampled by the rule of the input's size" in notes[0]
    assert any("pretrained.fc.weight" in note for note in notes) == (listing.startswith("author2018"))

    held = first.model.state_dict()
    naming = translate_authors(state).naming if authors else None
    origin = {key: naming.from_mmseg(key) if naming else key for key in held}
    assert sorted(origin.values()) == sorted(key for key in state if not key.startswith("pretrained.fc."))
    for key, tensor in held.items():
        assert torch.equal(tensor, state[origin[key]].reshape(tensor.shape))

    save_mmseg(tmp_path / "out.pth", first.model, classes=first.classes)
    content = torch.load(tmp_path / "out.pth", weights_only=True)
    assert set(content) == {"meta", "state_dict"}
    if not authors:
        assert set(content["state_dict"]) == set(state)
    second = read_checkpoint(tmp_path / "out.pth")
    assert second.model.config == first.model.config
    again = second.model.state_dict()
    assert list(again) == list(held)
    assert all(torch.equal(again[key], tensor) for key, tensor in held.items())


@pytest.mark.parametrize("listing", LISTS)
def test_a_published_files_shapes_are_those_of_the_network_read_off_them(listing):
    state = {
        key: torch.empty(shape, device="meta", dtype=getattr(torch, dtype))
        for key, (shape, dtype) in _listed(listing).items()
    }
    authors = translate_authors(state) if listing.startswith("author") else None
    tensors = authors.state if authors else state
    with torch.device("meta"):
        expected = DANet(infer_config(tensors)).state_dict()
    assert {key: tensor.shape for key, tensor in tensors.items()} == {
        key: tensor.shape for key, tensor in expected.items()
    }


# What a file may lack or have besides.


def test_the_authors_gammas_become_scalars(tmp_path):
    state = authors_file(deep=True)
    model = load_checkpoint(saved(tmp_path, state))
    assert model.decode_head.pam.gamma.scale.shape == ()
    assert model.decode_head.pam.gamma.scale.item() == pytest.approx(0.8)
    assert model.decode_head.cam.gamma.scale.item() == pytest.approx(-0.6)
    state["head.sc.gamma"] = torch.ones(2)
    with pytest.raises(CheckpointError, match=r"head.sc.gamma must have the shape \(\)"):
        load_checkpoint(saved(tmp_path, state))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("head.sa.gamma"), r"1 missing \(head.sa.gamma\)"),
        (lambda s: s.pop("head.conv7.1.bias"), r"1 missing \(head.conv7.1.bias\)"),
        (lambda s: s.pop("pretrained.conv1.4.bias"), r"1 missing \(pretrained.conv1.4.bias\)"),
        (lambda s: s.pop("pretrained.conv1.0.weight"), r"1 missing \(pretrained.conv1.0.weight\)"),
        (lambda s: s.pop("pretrained.bn1.num_batches_tracked"), r"1 missing \(pretrained.bn1.num_batches_"),
        (lambda s: s.pop("pretrained.layer1.0.conv1.weight"), "'pretrained.layer1.0.conv1.weight'"),
        (lambda s: s.update({"head.conv9.weight": torch.ones(1)}), r"1 unexpected \(head.conv9.weight\)"),
        (lambda s: s.update({"head.sa.gammas": torch.ones(1)}), r"1 unexpected \(head.sa.gammas\)"),
        (lambda s: s.update({"pretrained.fc.scale": torch.ones(1)}), r"1 unexpected \(pretrained.fc.scale\)"),
        (lambda s: s.update({"auxlayer.0.weight": torch.ones(1)}), r"1 unexpected \(auxlayer.0.weight\)"),
        (lambda s: s.update({"pretrained.conv1.7.bias": torch.ones(4)}), "would be the same tensor"),
        (lambda s: s.update({"backbone.stem.7.bias": torch.ones(4)}), "would be the same tensor"),
        (
            lambda s: s.update({"head.conv5a.0.weight": torch.ones(8, 5, 3, 3)}),
            "head.conv5a.0.weight must have",
        ),
        (lambda s: s["head.conv8.1.bias"].fill_(float("inf")), "head.conv8.1.bias holds values that are not"),
    ],
)
def test_every_tensor_of_an_authors_file_is_accounted_for_by_its_own_name(tmp_path, change, message):
    state = authors_file(deep=True)
    change(state)
    path = saved(tmp_path, state)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "taken for a DANet with its authors' names" in str(caught.value)


def test_a_mmsegmentation_file_with_a_tensor_too_many_is_said_to_be_one(tmp_path):
    state = build_model(18, **SMALL, stem_channels=4).state_dict()
    path = saved(tmp_path, {**state, "decode_head.extra.bias": torch.ones(1)})
    expected = r"taken for a DANet with mmsegmentation's names: .* 1 unexpected \(decode_head.extra.bias\)"
    with pytest.raises(CheckpointError, match=expected):
        load_checkpoint(path)


def test_a_file_of_no_family_says_what_each_family_has(tmp_path):
    with pytest.raises(CheckpointError, match=r"begin with 'encoder.weight'") as caught:
        load_checkpoint(saved(tmp_path, {"encoder.weight": torch.ones(1)}))
    for name in ("decode_head.conv_seg.weight", "head.conv8.1.weight", "layer1.0.conv1.weight"):
        assert name in str(caught.value)


def test_a_resnet_alone_is_refused_with_the_place_where_it_belongs(tmp_path):
    path = saved(tmp_path, build_model(18, **SMALL).backbone.state_dict())
    with pytest.raises(CheckpointError, match="a ResNet alone; train with it as 'backbone_weights:'"):
        load_checkpoint(path)


def test_a_bare_file_and_one_of_a_parallel_wrapper_are_read_alike(tmp_path):
    state = authors_file(deep=False)
    torch.save(state, tmp_path / "bare.pth")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "w.pth")
    bare, wrapped = load_checkpoint(tmp_path / "bare.pth"), load_checkpoint(tmp_path / "w.pth")
    assert bare.config == wrapped.config
    held = wrapped.state_dict()
    assert all(torch.equal(held[key], tensor) for key, tensor in bare.state_dict().items())


def test_a_file_older_than_the_counters_of_batch_normalisation_gets_them_and_that_is_said(tmp_path):
    state = {k: v for k, v in authors_file(deep=False).items() if not k.endswith("num_batches_tracked")}
    notes = []
    model = read_checkpoint(saved(tmp_path, state), say=notes.append).model
    assert any("num_batches_tracked is set to 0" in note for note in notes)
    assert model.backbone.bn1.num_batches_tracked == 0


class _Planted:
    def __reduce__(self):
        return (Path.touch, (Path("planted"),))


def test_code_in_a_published_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notes = []
    read_checkpoint(saved(tmp_path, authors_file(deep=True), best_pred=_Planted()), say=notes.append)
    assert any("left out: 1 object besides tensors, not loaded because they can run code" in n for n in notes)
    Path("raw.pth").write_bytes(pickle.dumps({"pretrained.conv1.weight": _Planted()}))
    with pytest.raises(CheckpointError, match="can run code"):
        load_checkpoint(Path("raw.pth"))
    with pytest.raises(CheckpointError, match="can run code"):
        load_backbone(build_model(18, **SMALL).backbone, Path("raw.pth"))
    assert not Path("planted").exists()


def test_what_no_tensor_tells_is_assumed_aloud_or_taken_from_the_caller(tmp_path, caplog):
    path = saved(tmp_path, authors_file(deep=False, fc=True))
    load_checkpoint(path)
    for words in ("pretrained.fc.weight", "dilations 2,4,4", "aligned corners"):
        assert words in caplog.text
    notes = []
    config = read_checkpoint(path, multi_grid=(4, 8, 16), align_corners=False, say=notes.append).model.config
    assert (config.multi_grid, config.align_corners) == (((4, 8, 16)), False)
    assert len(notes) == 1
    with pytest.raises(CheckpointError, match="multi_grid must hold 3 dilations"):
        read_checkpoint(path, multi_grid=(4, 8))


@pytest.mark.parametrize(
    "meta",
    [
        {"CLASSES": ("road", "car"), "PALETTE": [[1, 2, 3], [4, 5, 6]]},
        {"dataset_meta": {"classes": ("road", "car"), "palette": [[1, 2, 3], [4, 5, 6]]}},
        {"dataset_meta": {"CLASSES": ("road", "car"), "PALETTE": [[1, 2, 3], [4, 5, 6]]}},
        {"dataset_meta": {}, "CLASSES": ("road", "car"), "PALETTE": [[1, 2, 3], [4, 5, 6]]},
    ],
    ids=["0.x", "1.x", "1.0.0rc", "1.x, noted beside"],
)
def test_the_classes_that_mmsegmentation_names_are_read_and_checked(tmp_path, meta):
    loaded = read_checkpoint(saved(tmp_path, build_model(18, **SMALL, num_classes=2).state_dict(), meta=meta))
    assert loaded.classes.names == ("road", "car")
    assert loaded.classes.colors == ((1, 2, 3), (4, 5, 6))
    with pytest.raises(CheckpointError, match="3 classes, but the class table names 2"):
        read_checkpoint(saved(tmp_path, build_model(18, **SMALL, num_classes=3).state_dict(), meta=meta))
    wrong = {"CLASSES": ("road", "car"), "PALETTE": [[1, 2, 300], [4, 5, 6]]}
    path = saved(tmp_path, build_model(18, **SMALL, num_classes=2).state_dict(), meta=wrong)
    with pytest.raises(CheckpointError, match="not names and RGB colors"):
        read_checkpoint(path)


def test_a_palette_that_has_not_a_color_a_class_keeps_no_weights_out(tmp_path):
    meta = {"dataset_meta": {"classes": ["road", "car"], "palette": [[1, 2, 3]] * 19}}
    path, notes = saved(tmp_path, build_model(18, **SMALL, num_classes=2).state_dict(), meta=meta), []
    loaded = read_checkpoint(path, say=notes.append)
    assert loaded.classes.names == ("road", "car")
    assert len(set(loaded.classes.colors)) == 2
    assert any("left out: the palette of 19 colors, as there are 2 classes" in line for line in notes)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'\xfd\0\0\0\0\0\0\0{"backbone.stem', "a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "`git lfs pull`"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
        (b"\x1f\x8b\x08\0", "a packed file"),
        (b"\x08\x07\x12\x07pytorch", "give a checkpoint file"),
    ],
)
def test_what_else_lies_under_a_checkpoints_name_is_called_by_its_own(tmp_path, data, words):
    (tmp_path / "danet.pth").write_bytes(data)
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(tmp_path / "danet.pth")


def test_a_head_that_mmsegmentation_has_not_is_not_written_for_it(tmp_path):
    with pytest.raises(CheckpointError, match="this one only CAM"):
        save_mmseg(tmp_path / "out.pth", build_model(18, **SMALL, pam=False))
    assert not (tmp_path / "out.pth").exists()


def test_mmsegmentations_settings_name_the_whole_shape():
    model = build_model(50, **SMALL, stem="plain", stem_channels=4, multi_grid=(4, 8, 16), align_corners=True)
    assert mmseg_settings(model) == {
        "backbone.type": "ResNet",
        "backbone.depth": 50,
        "backbone.stem_channels": 4,
        "backbone.base_channels": 4,
        "decode_head.type": "DAHead",
        "decode_head.in_channels": 128,
        "decode_head.channels": 8,
        "decode_head.num_classes": 19,
        "decode_head.pam_channels": 4,
        "auxiliary_head.in_channels": 64,
        "auxiliary_head.channels": 4,
        "auxiliary_head.num_classes": 19,
        "backbone.multi_grid": (4, 8, 16),
        "decode_head.align_corners": True,
    }


def test_an_archive_that_unpacks_to_more_than_it_holds_is_refused_before_torch_sees_it(tmp_path):
    torch.save({"state_dict": {"w": torch.zeros(1 << 22)}}, tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    assert read_stored(tmp_path / "plain.pt").state["w"].numel() == 1 << 22
    assert (tmp_path / "packed.pt").stat().st_size < 1 << 16  # of 16 MiB
    with pytest.raises(CheckpointError, match=r"packed\.pt .* packed or overlapping parts"):
        read_stored(tmp_path / "packed.pt")


@pytest.mark.parametrize("kind", ["repeated", "meta", "sparse"])
def test_a_tensor_that_is_larger_than_what_is_stored_of_it_is_refused(tmp_path, kind):
    tensor = {
        "repeated": lambda: torch.zeros(1).expand(100_000, 100_000),
        "meta": lambda: torch.zeros(100_000, 100_000, device="meta"),
        "sparse": lambda: torch.sparse_coo_tensor(
            [[0], [0]], [1.0], (100_000, 100_000), check_invariants=True
        ),
    }[kind]()
    torch.save({"state_dict": {"w": tensor}}, tmp_path / "it.pt")
    with pytest.raises(CheckpointError, match="expanded from fewer values, sparse, or without values"):
        read_stored(tmp_path / "it.pt")
