import contextlib
import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from danet_train import CITYSCAPES, open_dataset
from danet_train.errors import UsageError
from danet_train.synthetic import dataset as synthetic
from danet_train.synthetic.camera import Camera
from danet_train.synthetic.dataset import Scenes, drive, scene, synthesize_dataset

SIZE = (64, 128)
SETTINGS = {"train": 3, "val": 2, "video_frames": 3, "size_hw": SIZE}


def _hashes(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_the_same_seed_gives_the_same_files_bit_by_bit_and_another_seed_others(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        scenes = Scenes(train=2, val=1, video_frames=2, size_hw=SIZE, seed=seed)
        synthesize_dataset(tmp_path / name, scenes, workers=1)
    first, second, other = (_hashes(tmp_path / name) for name in "abc")
    assert first == second
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first)


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_the_files(tmp_path):
    for workers in (1, 2):
        synthesize_dataset(
            tmp_path / str(workers),
            Scenes(train=18, val=2, video_frames=0, size_hw=SIZE, seed=1),
            workers=workers,
        )
    assert _hashes(tmp_path / "1") == _hashes(tmp_path / "2")


def test_the_dataset_opens_as_cityscapes_and_no_scene_is_in_both_splits(synthetic_root):
    train, val = open_dataset(synthetic_root, "train"), open_dataset(synthetic_root, "val")
    assert (len(train), len(val)) == (6, 3)
    assert train.classes is CITYSCAPES
    pictures = [sample.image.tobytes() for sample in (*train, *val)]
    assert len(set(pictures)) == 9
    assert train[0].image.shape == (*SIZE, 3)


def test_a_dozen_classes_and_more_occur_the_thin_ones_included():
    counts = np.zeros(256, np.int64)
    for index in range(12):
        counts += np.bincount(scene("train", index, SIZE, 0)[1].ravel(), minlength=256)
    present = {name for name, count in zip(CITYSCAPES.names, counts, strict=False) if count > 20}
    assert {
        "road", "sidewalk", "building", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
        "sky", "person", "rider", "car", "bicycle",
    } <= present  # fmt: skip


def test_light_and_noise_differ_between_scenes():
    means = [scene("val", index, SIZE, 0)[0].mean() for index in range(10)]
    assert np.ptp(means) > 40


def test_every_frame_of_the_film_has_its_labels(synthetic_root):
    capture = cv2.VideoCapture(str(synthetic_root / "video/street.mp4"))
    frames = 0
    while capture.read()[0]:
        frames += 1
    capture.release()
    assert frames == 4
    labels = sorted((synthetic_root / "video/labelIds").iterdir())
    assert [path.name for path in labels] == [f"{index:06d}.png" for index in range(4)]


def test_a_drive_is_coherent_neighbouring_frames_agree_more_than_distant_ones():
    labels = [label for _, label in drive(26, SIZE, 5)]
    near = np.mean([(a == b).mean() for a, b in itertools.pairwise(labels)])
    far = (labels[0] == labels[-1]).mean()
    assert near > 0.93
    assert near > far + 0.05
    assert (labels[0] != labels[1]).any()


def test_a_run_that_breaks_leaves_nothing_behind(tmp_path, monkeypatch):
    def broken(*_args, **_options):
        raise RuntimeError("no paint left")

    monkeypatch.setattr(synthetic, "render", broken)
    with pytest.raises(RuntimeError, match="no paint left"):
        synthesize_dataset(tmp_path / "out", Scenes(**SETTINGS, seed=0), workers=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": 0, "val": 0, "video_frames": 0}, "at least one"),
        ({"train": -1}, "none below"),
        ({"size_hw": (8, 128)}, "32 to 4096"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        synthesize_dataset(tmp_path / "out", Scenes(**{**SETTINGS, "seed": 0, **change}))


def test_a_folder_that_exists_is_not_touched(tmp_path):
    with pytest.raises(UsageError, match="exists already"):
        synthesize_dataset(tmp_path, Scenes(**SETTINGS, seed=0))


def test_overwrite_replaces_an_empty_folder_and_an_earlier_dataset(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    small = {"train": 0, "val": 1, "video_frames": 0, "size_hw": (32, 48)}
    for seed in (0, 1):
        synthesize_dataset(out, Scenes(**small, seed=seed), overwrite=True)
        assert json.loads((out / "synthetic.json").read_text()) == {
            "format": "danet-synthetic", "size_hw": [32, 48], "seed": seed,
            "train": 0, "val": 1, "video_frames": 0,
        }  # fmt: skip
    (out / "thesis.txt").write_text("mine")
    before = _hashes(out)
    with pytest.raises(UsageError, match=r"also holds thesis\.txt"):
        synthesize_dataset(out, Scenes(**small, seed=2), overwrite=True)
    assert _hashes(out) == before


@pytest.mark.parametrize("marker", [None, "", "[]", '{"format": "other"}'])
def test_overwrite_replaces_no_folder_that_this_command_did_not_make(tmp_path, marker):
    (tmp_path / "leftImg8bit").mkdir()
    (tmp_path / "leftImg8bit" / "a.png").write_text("mine")
    if marker is not None:
        (tmp_path / "synthetic.json").write_text(marker)
    before = _hashes(tmp_path)
    with pytest.raises(UsageError, match=r"has no synthetic\.json of this command, but leftImg8bit"):
        synthesize_dataset(tmp_path, Scenes(**SETTINGS, seed=0), overwrite=True)
    assert _hashes(tmp_path) == before


_LONG_RUN = """
import signal, sys
from pathlib import Path
from danet_train.synthetic.dataset import Scenes, synthesize_dataset
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started without it
synthesize_dataset(Path(sys.argv[1]), Scenes(train=5000, val=0, video_frames=0, size_hw=(32, 48), seed=0))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("send", "number", "folder_stays"),
    [
        pytest.param(os.kill, signal.SIGINT, False, id="parent interrupted"),
        pytest.param(os.killpg, signal.SIGINT, False, id="all interrupted", marks=pytest.mark.slow),
        pytest.param(os.kill, signal.SIGKILL, True, id="parent killed", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_stopped_leaves_no_worker_and_no_folder(tmp_path, send, number, folder_stays):
    run = subprocess.Popen(
        [sys.executable, "-c", _LONG_RUN, str(tmp_path / "out")],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not any(tmp_path.rglob("*_labelIds.png")):
            assert time.monotonic() < deadline, "no worker wrote a scene"
            time.sleep(0.02)
        send(run.pid, number)
        _, errors = run.communicate(timeout=60)  # ends when the last process that has stderr is gone
        assert run.returncode != 0
        assert "Process SpawnProcess" not in errors  # a worker's own traceback
        assert folder_stays or list(tmp_path.iterdir()) == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)


def test_a_ray_to_the_ground_and_the_projection_undo_each_other():
    camera = Camera(1.0, 1.4, 5.0, 0.1, 200.0, 40.0, (100, 160))
    first, x, z, ahead = camera.ground_rays()
    for row, column in ((5, 10), (30, 80), (50, 150)):
        right, forward = camera.to_camera(float(x[row, column]), float(z[row, column]))
        assert forward == pytest.approx(float(ahead[row, column]), rel=1e-4)
        u, v = camera.project(right, 0.0, forward)
        assert (u, v) == (pytest.approx(column + 0.5, abs=0.01), pytest.approx(first + row + 0.5, abs=0.01))


def test_a_folder_of_a_latin_1_name_gets_its_drive_too(tmp_path):
    """OpenCV ends the process on a name that is no Unicode, so this is one of its own."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom danet_train.synthetic.dataset import _write_video\n"
        "_write_video(Path(sys.argv[1]), 3, (64, 128), 0, lambda: None)\n"
    )
    folder = tmp_path / os.fsdecode(b"h\xe9")
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "street.mp4").rename(tmp_path / "street.mp4")
    film = cv2.VideoCapture(str(tmp_path / "street.mp4"))
    assert [film.read()[0] for _ in range(4)] == [True, True, True, False]
