"""The tutorial of one's own data: JPGs and RGB masks of five classes become an overlay video."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from danet_command import danet
from documentation import blocks

from danet_train.synthetic.dataset import Scenes, synthesize_dataset

SIZE_HW = (360, 480)
COLORS = {  # BGR; the label ids of Cityscapes that become each of five classes
    (128, 64, 128): (7, 8),
    (142, 0, 0): (24, 25, 26, 27, 28, 32, 33),
    (35, 142, 107): (21, 22),
    (180, 130, 70): (23,),
    (70, 70, 70): (),  # all the rest
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs and masks as an annotator leaves them, and a drive; no table of classes, no splits."""
    synthesize_dataset(tmp_path / "drawn", Scenes(16, 4, 6, SIZE_HW, 3), workers=1)
    for name in ("images", "masks"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    for number, picture in enumerate(sorted((tmp_path / "drawn").rglob("*_leftImg8bit.png"))):
        ids = next((tmp_path / "drawn").rglob(picture.name.replace("_leftImg8bit", "_gtFine_labelIds")))
        labels = cv2.imread(str(ids), cv2.IMREAD_UNCHANGED)
        mask = np.full((*labels.shape, 3), list(COLORS)[-1], np.uint8)
        for color, members in COLORS.items():
            mask[np.isin(labels, members)] = color
        cv2.imwrite(str(tmp_path / "photos" / "images" / f"{number:03d}.jpg"), cv2.imread(str(picture)))
        cv2.imwrite(str(tmp_path / "photos" / "masks" / f"{number:03d}.png"), mask)
    (tmp_path / "drawn" / "video" / "street.mp4").rename(tmp_path / "drive.mp4")
    return tmp_path


def commands() -> list[list[str]]:
    """The commands of the page's first block."""
    return list(next(block for block in blocks("sh") if block.page == "docs/own_data.md").commands())


@pytest.mark.slow
def test_seven_commands_lead_from_jpgs_and_rgb_masks_to_an_overlay_video(folder: Path) -> None:
    written = commands()
    assert len(written) <= 7
    for words in written:
        shorter = {"train": ["steps=3", "batch_size=2", "precision=fp32"], "calibrate": ["--count", "8"]}
        done = danet(*words[1:], *shorter.get(words[1], []), cwd=folder, timeout_s=600)
        may_refuse = (
            words[1] == "calibrate" and done.returncode == 1
        )  # three steps teach nothing worth a gate
        assert done.returncode == 0 or may_refuse, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    video = cv2.VideoCapture(str(folder / "overlay.mp4"))
    frames = 0
    while (read := video.read())[0]:
        frames += 1
        assert read[1].shape == (*SIZE_HW, 3)
    assert frames == 6
    classes = (folder / "dataset" / "classes.yaml").read_text(encoding="utf-8")
    assert "road" in classes
    assert "car" in classes
    assert classes.count("name:") == 5
