import cv2
import numpy as np
import pytest

from danet_train import CITYSCAPES, open_dataset
from danet_train.errors import ConfigError, DataError

CLASSES = "classes:\n- {name: road, color: [1, 2, 3]}\n- {name: car, color: [4, 5, 6]}\nignore: [9]\n"


@pytest.fixture
def folder(tmp_path):
    """A plain folder with one split, two samples."""
    for kind in ("images", "labels"):
        (tmp_path / "train" / kind).mkdir(parents=True)
    (tmp_path / "classes.yaml").write_text(CLASSES)
    rng = np.random.default_rng(0)
    for name, suffix in (("a", "png"), ("b", "jpg")):
        cv2.imwrite(
            str(tmp_path / f"train/images/{name}.{suffix}"), rng.integers(0, 255, (8, 10, 3), np.uint8)
        )
        cv2.imwrite(
            str(tmp_path / f"train/labels/{name}.png"), rng.choice([0, 1, 9], (8, 10)).astype(np.uint8)
        )
    return tmp_path


@pytest.fixture
def cityscapes(tmp_path):
    image = tmp_path / "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png"
    label = tmp_path / "gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png"
    for path in (image, label):
        path.parent.mkdir(parents=True)
    cv2.imwrite(str(image), np.full((4, 6, 3), (10, 20, 30), np.uint8))
    cv2.imwrite(str(label), np.array([[7, 8, 0, 33, 3, 26]] * 4, np.uint8))
    return tmp_path


def test_cityscapes_layout_is_read_with_its_label_ids_mapped(cityscapes):
    dataset = open_dataset(cityscapes, "val")
    assert dataset.names == ("ulm/ulm_000000_000019",)
    assert dataset.classes is CITYSCAPES
    sample = dataset[0]
    np.testing.assert_array_equal(sample.label[0], [0, 1, 255, 18, 255, 13])
    np.testing.assert_array_equal(sample.image[0, 0], [10, 20, 30])  # blue first


def test_a_plain_folder_is_read_with_or_without_a_split(folder):
    for dataset in (
        open_dataset(folder, "train"),
        open_dataset(folder / "train", "val", folder / "classes.yaml"),
    ):
        assert dataset.names == ("a", "b")
        assert dataset.classes.names == ("road", "car")
        for sample in dataset:
            assert sample.image.shape == (8, 10, 3)
            assert set(np.unique(sample.label)) <= {0, 1, 255}
    assert open_dataset(folder, "train")[1:].names == ("b",)
    with pytest.raises(IndexError):
        open_dataset(folder, "train")[2]


def test_neither_layout_is_refused_with_what_there_is(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match=r"neither leftImg8bit.*it holds pictures.*`danet data init`"):
        open_dataset(tmp_path, "train")
    with pytest.raises(DataError, match="not a folder"):
        open_dataset(tmp_path / "none", "train")


def test_a_split_that_is_missing_is_refused_with_those_there_are(cityscapes):
    with pytest.raises(DataError, match=r"no split 'train'; it has val"):
        open_dataset(cityscapes, "train")


def test_a_folder_without_classes_asks_for_them(folder):
    (folder / "classes.yaml").unlink()
    with pytest.raises(DataError, match="--classes"):
        open_dataset(folder, "train")
    with pytest.raises(ConfigError):
        open_dataset(folder, "train", folder / "none.yaml")


def test_an_image_without_labels_is_named(folder):
    (folder / "train/labels/b.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images have no labels; .*b\.jpg needs .*b\.png"):
        open_dataset(folder, "train")


def test_an_empty_split_is_refused(folder):
    for path in (folder / "train/images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no image"):
        open_dataset(folder, "train")


def test_a_label_outside_the_class_table_is_named_with_its_file(folder):
    cv2.imwrite(str(folder / "train/labels/a.png"), np.full((8, 10), 5, np.uint8))
    with pytest.raises(DataError, match=r"a\.png holds the label value 5"):
        open_dataset(folder, "train")[0]


def test_sizes_that_differ_are_refused(folder):
    cv2.imwrite(str(folder / "train/labels/a.png"), np.zeros((8, 9), np.uint8))
    with pytest.raises(DataError, match=r"10x8, but .* is 9x8"):
        open_dataset(folder, "train")[0]


@pytest.mark.parametrize(
    ("values", "words"),
    [(np.zeros((8, 10, 3), np.uint8), "holds colors"), (np.zeros((8, 10), np.uint16), "values of 16 bits")],
)
def test_a_label_of_colors_or_wide_values_is_refused(folder, values, words):
    cv2.imwrite(str(folder / "train/labels/a.png"), values)
    with pytest.raises(DataError, match=f"single-channel 8-bit PNG of label values, and .*{words}"):
        open_dataset(folder, "train")[0]


@pytest.mark.parametrize("name", ["images/a.png", "labels/a.png", "images/b.jpg"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_picture_that_is_cut_off_is_refused_not_filled_with_black(folder, name, part):
    path = folder / "train" / name
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(DataError, match=path.name):
        list(open_dataset(folder, "train"))


def test_two_images_of_one_name_are_refused(folder):
    (folder / "train/images/a.jpg").write_bytes((folder / "train/images/b.jpg").read_bytes())
    with pytest.raises(DataError, match="share the name 'a'"):
        open_dataset(folder, "train")


def test_real_cityscapes_is_read(real_data):
    dataset = open_dataset(real_data / "cityscapes_mini", "train")
    assert len(dataset) == 8
    sample = dataset[0]
    assert sample.image.shape == (1024, 2048, 3)
    assert set(np.unique(sample.label)) <= {*range(19), 255}


def test_real_camvid_is_read_with_the_packaged_classes(real_data):
    dataset = open_dataset(real_data / "camvid", "val", "camvid")
    assert len(dataset) == 101
    assert dataset[0].image.shape == (360, 480, 3)
