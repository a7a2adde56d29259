"""The ground truth of photographs that are given without their data set, as `danet compare` asks for it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import tomllib
from labelled_folders import CLASSES, plain_folder, scene
from layout_trees import TREES

from danet_train import open_dataset
from danet_train.data.datasets.ground_truth import ground_truth_of

TRAIN = Path(__file__).parents[3] / "train"


@pytest.mark.parametrize("kind", TREES)
def test_each_picture_of_a_known_layout_has_the_labels_that_training_reads(kind: str, tmp_path: Path) -> None:
    tree = TREES[kind](tmp_path / "set")
    dataset = open_dataset(tree.root, "val")
    found = ground_truth_of([pair.image for pair in dataset.pairs], dataset.classes.names)
    assert len(found) == len(tree.val)
    for labels, sample in zip(found, dataset, strict=True):
        np.testing.assert_array_equal(labels, sample.label)


def test_labels_are_those_of_the_file_and_need_no_classes_yaml_where_a_packaged_table_has_the_names(
    tmp_path: Path,
) -> None:
    root = plain_folder(tmp_path / "set")
    picture = root / "val" / "images" / "s1.png"
    (labels,) = ground_truth_of([picture], CLASSES)
    np.testing.assert_array_equal(labels, scene(101)[1])
    (root / "classes.yaml").unlink()
    assert ground_truth_of([picture], CLASSES) == [None]
    camvid = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian")
    (labels,) = ground_truth_of([picture], (*camvid, "bicyclist"))
    np.testing.assert_array_equal(labels, scene(101)[1])


def test_without_labels_or_with_other_classes_there_is_none_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = plain_folder(tmp_path / "set")
    first, second = (root / "val" / "images" / f"s{number}.png" for number in range(2))
    stray = tmp_path / "stray.png"
    stray.write_bytes(first.read_bytes())
    assert ground_truth_of([stray], CLASSES) == [None]
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        assert ground_truth_of([first, second], ("road", "lorry", "sky", "tree")) == [None, None]
    assert [record.message.count("'lorry' in the bundle") for record in caplog.records] == [1]
    (root / "val" / "labels" / "s0.png").write_bytes(b"no picture")
    (root / "val" / "labels" / "s1.png").unlink()
    with caplog.at_level(logging.WARNING):
        assert ground_truth_of([first, second], CLASSES) == [None, None]
    assert "s0.png" in caplog.records[-1].message


def test_the_package_offers_it_to_compare() -> None:
    stated = tomllib.loads((TRAIN / "pyproject.toml").read_text())["project"]["entry-points"]
    where = f"{ground_truth_of.__module__}:{ground_truth_of.__name__}"
    assert stated["danet.ground_truth"] == {"train": where}
