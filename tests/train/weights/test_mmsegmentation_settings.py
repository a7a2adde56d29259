"""What a file of mmsegmentation's says of itself, and what its release 1.2.2 does otherwise."""

import pathlib

import mmsegmentation_files as files
import numpy as np
import pytest
import torch
import typer
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
from danet_train.weights.mmseg_settings import settings_of_meta

MMSEGMENTATIONS = ("cityscapes_r", "ade20k", "voc2012")


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
    loaded, notes = files.read("c.pth")
    assert loaded.model.config.align_corners is None
    assert "could not be read" in notes
    assert not pathlib.Path("planted").exists()


def test_the_callers_word_stands_over_the_files(tmp_path, state):
    path = tmp_path / "c.pth"
    torch.save(files.content_of_0x(state, **files.IN_0X), path)
    notes = []
    loaded = read_checkpoint(path, align_corners=False, say=notes.append)
    assert loaded.model.config.align_corners is False
    assert notes == []


@pytest.mark.parametrize("size", [(97, 97), (96, 96)])
def test_a_769_row_keeps_its_aligned_corners_at_any_size(tmp_path, state, size):
    torch.save(files.content_of_0x(state, **files.IN_0X), tmp_path / "c.pth")
    loaded, _ = files.read(tmp_path / "c.pth")
    assert aligns_corners(loaded.model.config.align_corners, size) is True
    torch.save({"state_dict": state}, tmp_path / "bare.pth")
    bare, notes = files.read(tmp_path / "bare.pth")
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
    torch.save({"state_dict": state, "meta": {"CLASSES": files.NAMES, "PALETTE": None}}, tmp_path / "c.pth")
    assert files.read(tmp_path / "c.pth")[0].classes.names == files.NAMES


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
    state = build_model(18, **files.SMALL, stem_channels=4, num_classes=150).state_dict()
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
