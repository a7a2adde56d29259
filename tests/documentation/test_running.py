"""The commands of the pages do what they are there for: each page's, one after the other, on tiny data."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import pytest
from danet_command import danet
from documentation import REPOSITORY, blocks

from danet_export.frames import pattern
from danet_train.synthetic.dataset import Scenes, synthesize_dataset

RUN_BY_CI = {"make", "pip"}
"""`make` and `pip` set a machine up: `.ci/run` is what runs them."""
NOT_HERE = {"docs/own_data.md"}
"""Begins with pictures and masks of its own: test_own_data.py."""
PAGES = sorted({block.page for block in blocks("sh") if not block.is_marked} - NOT_HERE)


@pytest.fixture
def folder(tmp_path: Path, checkpoint_file: Path, exported_bundle: Path) -> Path:
    """What the pages say is there."""
    shutil.copy(checkpoint_file, tmp_path / "checkpoint.pt")
    shutil.copytree(exported_bundle, tmp_path / "bundle")
    synthesize_dataset(tmp_path / "dataset", Scenes(12, 4, 0, (64, 128), 0), workers=1)
    (tmp_path / "frames").mkdir()
    writer = cv2.VideoWriter(str(tmp_path / "drive.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (128, 64))
    for seed in range(6):
        frame = pattern((64, 128), seed)
        cv2.imwrite(str(tmp_path / "frames" / f"{seed}.png"), frame)
        writer.write(frame)
    writer.release()
    shutil.copy(tmp_path / "frames" / "0.png", tmp_path / "picture.png")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_pages_commands_run_one_after_the_other(page: str, folder: Path) -> None:
    for block in blocks("sh"):
        if block.page != page or block.is_marked:
            continue
        for words in block.commands():
            if words[0] in RUN_BY_CI:
                continue
            assert words[0] == "danet", (
                f"{block} starts {words[0]}, which nobody runs; title the block `Needs ...`"
            )
            done = danet(*words[1:], cwd=folder)
            assert done.returncode == 0, f"{block}: {' '.join(words)}\n{done.stderr}"


def test_what_ci_runs_is_all_that_the_pages_make_but_for_a_gpus() -> None:
    ci = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    run = {target for line in re.findall(r"^make (.*)$", ci, re.MULTILINE) for target in line.split()}
    asked = {
        word
        for block in blocks("sh")
        for words in block.commands()
        if words[0] == "make"
        for word in words[1:]
    }
    assert asked - {"test", "setup", "gpu"} <= run  # test-all runs the tests of test too, everything sets up
    assert "test-all" in run


def test_a_marked_block_says_what_is_missing() -> None:
    marked = {block.title for block in blocks("sh", "ini") if block.is_marked}
    assert marked
    for title in marked:
        assert re.search(r"GPU|Jetson|camera|Cityscapes|CamVid|checkpoint of yours", title), title
