"""A data set in any known layout gives its training photographs alone, with their labels, and no masks."""

import shutil

import pytest
from layout_trees import TREES, VAL, Tree, plain_folder, voc2012

from danet_calibration.errors import CalibrationSetError
from danet_calibration.images.images import choose_images
from danet_calibration.images.pictures import find_pictures
from danet_calibration.images.set_labels import NoLabelsError, find_labels, labelled_frames
from danet_calibration.measure.accuracy import LabelledSet
from danet_calibration.measure.overlap import find_overlap
from danet_train.data.datasets.layouts import open_dataset
from danet_train.data.samples.sample import read_label
from danet_train.errors import DataError


@pytest.fixture(params=list(TREES))
def tree(request, tmp_path) -> Tree:
    return TREES[request.param](tmp_path / "set")


def names_of(root, split="train"):
    return open_dataset(root, split).classes.names


def test_the_training_photographs_are_taken_and_nothing_else(tree):
    images = choose_images(tree.root, 99)
    assert set(images.files) == set(tree.train)
    assert images.found == len(tree.train)


def test_the_labels_of_every_photograph_are_found(tree):
    images = choose_images(tree.root, 99)
    labels, dataset = find_labels(images, names_of(tree.root), None)
    assert dict(zip(images.files, labels, strict=True)) == tree.train
    frames = labelled_frames(images, names_of(tree.root), None)
    assert frames is not None
    assert [pair.image for pair in frames.pairs] == list(images.files)
    for label in labels:  # with values that the classes have
        assert dataset.classes.decode(read_label(label), str(label)).shape == (64, 128)


def test_the_gates_frames_are_others_and_training_frames_would_be_told(tree):
    images = choose_images(tree.root, 4, 2)
    apart = find_overlap(images, LabelledSet("val", open_dataset(tree.root, "val")))
    assert (apart.frames, apart.of) == ((), VAL)
    same = find_overlap(images, LabelledSet("train", open_dataset(tree.root, "train")))
    assert (len(same.calibrated), len(same.held_out), same.of) == (4, 2, len(tree.train))


def test_of_the_folder_of_all_photographs_those_of_training_are_taken(tree):
    images = choose_images(tree.photographs, 99)
    assert set(images.files) == set(tree.train)
    assert find_labels(images, names_of(tree.root), None)[0] == [tree.train[file] for file in images.files]


@pytest.mark.parametrize("kind", [kind for kind in TREES if kind != "voc2012"])  # all splits in one folder
def test_a_folder_of_validation_photographs_is_taken_where_it_is_named_itself(kind, tmp_path):
    tree = TREES[kind](tmp_path)
    folder = next(iter(tree.val)).parent
    images = choose_images(folder, 99, least=1)
    assert set(images.files) == {file for file in tree.val if folder in file.parents}
    labels, _ = find_labels(images, names_of(tree.root), None)
    assert labels == [tree.val[file] for file in images.files]


def test_folders_of_labels_are_refused(tree):
    for folder in tree.labels:
        with pytest.raises(CalibrationSetError, match="label images only"):
            choose_images(folder, 99)


def test_in_a_folder_of_data_sets_no_mask_is_taken(tmp_path):
    trees = [make(tmp_path / "all" / name) for name, make in TREES.items()]
    found = find_pictures(tmp_path / "all")
    files = {found.folder / name for name in found.groups}
    assert files >= {file for tree in trees for file in (*tree.train, *tree.val)}
    masks = {folder for tree in trees for folder in tree.labels}
    assert not [file for file in files if masks.intersection(file.parents)]


def test_labels_of_other_classes_are_none(tree):
    with pytest.raises(NoLabelsError, match="in the bundle"):
        find_labels(choose_images(tree.root, 99), ("ground", "sky"), None)


def test_voc_without_the_further_labels_gives_its_own_training_photographs(tmp_path):
    tree = voc2012(tmp_path)
    shutil.rmtree(tmp_path / "SegmentationClassAug")
    own = {file: label for file, label in tree.train.items() if label.exists()}
    images = choose_images(tree.root, 99, least=1)
    assert set(images.files) == set(own)
    assert len(own) == len(tree.train) / 2
    labels, _ = find_labels(images, names_of(tree.root, "train_voc"), None)
    assert dict(zip(images.files, labels, strict=True)) == own


def test_a_photograph_that_a_list_names_and_is_gone_is_left_out_and_told(tmp_path):
    tree = voc2012(tmp_path)
    gone = next(iter(tree.train))
    gone.unlink()
    images = choose_images(tree.root, 99, least=1)
    assert set(images.files) == set(tree.train) - {gone}
    assert f"{gone}: listed, but missing" in (images.coverage.left_out or "")


def test_a_list_that_names_nothing_is_an_error_by_its_line(tmp_path):
    tree = voc2012(tmp_path)
    (tmp_path / "ImageSets/Segmentation/train.txt").write_text("a b c\n")
    with pytest.raises(DataError, match=r"train\.txt, line 1"):
        choose_images(tree.root, 99)


def test_a_training_split_without_a_picture_is_an_error_and_no_other_split_stands_in(tmp_path):
    tree = TREES["cityscapes"](tmp_path)
    for file in tree.train:
        file.rename(file.with_suffix(".jpg"))
    with pytest.raises(DataError, match=r"no image .*left out 16 files: .*and 7 more: not named"):
        choose_images(tree.root, 99)


def test_recordings_in_folders_of_their_own_are_all_taken(tmp_path):
    tree = plain_folder(tmp_path)
    for split, day in (("train", "monday"), ("val", "tuesday")):
        (tmp_path / split).rename(tmp_path / day)
    images = choose_images(tmp_path, 99)
    assert len(images.files) == len(tree.train) + len(tree.val)
    assert {file.relative_to(tmp_path).parts[1] for file in images.files} == {"images"}
