"""ADE20K and PASCAL VOC 2012 in the layouts of their downloads."""

import cv2
import numpy as np
import PIL.Image
import pytest

from danet_train import open_dataset
from danet_train.classes import find_classes
from danet_train.errors import DataError, NoDatasetError

RNG = np.random.default_rng(0)


def _photo(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), RNG.integers(0, 255, (4, 6, 3), np.uint8))


def _grey(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.asarray(values, np.uint8)).save(path)


def _voc_palette(count=256):
    """By the devkit's rule: the bits of the index, three at a time, are the high bits of R, G and B."""
    palette = np.zeros((count, 3), np.uint8)
    for index in range(count):
        for bit in range(24):
            channel, place = bit % 3, bit // 3
            palette[index, channel] |= ((index >> bit) & 1) << (7 - place)
    return palette


def _indexed(path, values, bits=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = PIL.Image.fromarray(np.asarray(values, np.uint8)).convert("L")
    picture.putpalette(_voc_palette(2**bits).ravel().tolist())
    picture.save(path, bits=bits)


@pytest.fixture
def ade20k(tmp_path):
    root = tmp_path / "ADEChallengeData2016"
    for folder, stem in (("training", "ADE_train_00000001"), ("validation", "ADE_val_00000001")):
        _photo(root / "images" / folder / f"{stem}.jpg")
        _grey(root / "annotations" / folder / f"{stem}.png", [[0, 1, 2, 150, 5, 0]] * 4)
    return root


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for name in ("2007_000032", "2007_000033", "2008_000002"):
        _photo(root / "JPEGImages" / f"{name}.jpg")
    for name in ("2007_000032", "2007_000033"):
        _indexed(root / "SegmentationClass" / f"{name}.png", [[0, 1, 20, 255, 15, 0]] * 4)
    _grey(root / "SegmentationClassAug" / "2008_000002.png", [[0, 3, 3, 3, 3, 20]] * 4)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in (("train", "2007_000032"), ("val", "2007_000033"), ("aug", "2008_000002")):
        (lists / f"{split}.txt").write_text(names + "\n")
    return root


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("split", ["train", "val", "validation"])
def test_ade20k_is_read_as_it_unpacks_and_its_values_count_from_one(ade20k, within, split):
    dataset = open_dataset(ade20k if within else ade20k.parent, split)
    assert dataset.names == ("ADE_train_00000001" if split == "train" else "ADE_val_00000001",)
    np.testing.assert_array_equal(dataset[0].label[0], [255, 0, 1, 149, 4, 255])
    assert dataset.classes.names[:2] == ("wall", "building")
    assert dataset.classes.names[149] == "flag"


def test_ade20k_refuses_a_value_beyond_its_classes_and_a_split_it_has_not(ade20k):
    label = ade20k / "annotations" / "training" / "ADE_train_00000001.png"
    _grey(label, [[151] * 6] * 4)
    with pytest.raises(DataError, match=r"ADE_train_00000001\.png holds the label value 151"):
        open_dataset(ade20k, "train")[0]
    with pytest.raises(NoDatasetError, match=r"no split 'test'.*training, validation"):
        open_dataset(ade20k, "test")
    label.unlink()
    with pytest.raises(DataError, match=r"ADE_train_00000001\.jpg needs .*ADE_train_00000001\.png"):
        open_dataset(ade20k, "train")


def test_voc_trains_on_its_own_labels_and_sbds_and_reads_indices_not_colors(voc):
    for root in (voc, voc.parent, voc.parent.parent):
        train = open_dataset(root, "train")
        assert train.names == ("2007_000032", "2008_000002")
        np.testing.assert_array_equal(train[0].label[0], [0, 1, 20, 255, 15, 0])
        np.testing.assert_array_equal(train[1].label[0], [0, 3, 3, 3, 3, 20])
        assert open_dataset(root, "val").names == ("2007_000033",)
        assert open_dataset(root, "train_voc").names == ("2007_000032",)


def test_a_list_of_all_training_names_stands_for_that_of_the_further_ones(voc):
    lists = voc / "ImageSets" / "Segmentation"
    (lists / "aug.txt").rename(lists / "trainaug.txt")
    (lists / "trainaug.txt").write_text("2008_000002\n2007_000032\n")
    train = open_dataset(voc, "train")
    assert train.names == ("2007_000032", "2008_000002")
    assert train.pairs[0].label.parent.name == "SegmentationClass"
    assert train.pairs[1].label.parent.name == "SegmentationClassAug"


def test_voc_without_sbds_labels_says_what_is_missing_and_how_to_do_without(voc):
    (voc / "ImageSets" / "Segmentation" / "aug.txt").unlink()
    with pytest.raises(DataError, match=r"SegmentationClassAug.*aug\.txt.*train_voc"):
        open_dataset(voc, "train")


def test_a_wrong_list_a_missing_image_and_a_missing_split_are_named(voc):
    lists = voc / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text("a -1\n")
    with pytest.raises(
        DataError, match=r"val\.txt, line 1: expected the name of a picture .*one name a line"
    ):
        open_dataset(voc, "val")
    (lists / "val.txt").write_text("2007_000033\n2099_000001\n")
    with pytest.raises(DataError, match=r"1 of the 2 images .*val\.txt are missing; .*2099_000001\.jpg"):
        open_dataset(voc, "val")
    dataset = open_dataset(voc, "val", bad_samples="skip")
    assert dataset.names == ("2007_000033",)
    assert [skipped.name for skipped in dataset.skipped] == ["2099_000001"]
    with pytest.raises(NoDatasetError, match=r"no split 'test'.*aug, train, val"):
        open_dataset(voc, "test")


def test_vocs_colors_are_those_of_its_palettes_rule():
    table = find_classes("voc2012")
    np.testing.assert_array_equal(np.array(table.colors), _voc_palette(21))
    assert (len(table), table.names[0], table.names[20]) == (21, "background", "tvmonitor")


@pytest.mark.parametrize(("bits", "palette"), [(1, False), (1, True), (2, True), (4, True), (8, False)])
def test_a_label_of_any_depth_keeps_its_values(ade20k, bits, palette):
    label = (np.arange(24).reshape(4, 6) % 2**bits).astype(np.uint8)
    path = ade20k / "annotations" / "training" / "ADE_train_00000001.png"
    if palette:
        _indexed(path, label, bits)
    elif bits == 1:
        PIL.Image.fromarray(label.astype(bool)).save(path)
    else:
        _grey(path, label)
    assert path.read_bytes()[24] == bits
    expected = np.where(label == 0, 255, label - 1)
    np.testing.assert_array_equal(open_dataset(ade20k, "train")[0].label, expected)
