"""``danet run`` with pictures as its outputs: one, or a folder of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mask_files import labels_in
from typer.testing import CliRunner

from danet_runtime import OverlayStyle, Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.cli.app import build_app
from danet_runtime.errors import UsageError


@pytest.fixture
def run(bundle: Bundle) -> Callable[..., None]:
    """The command in this process."""

    def command(*arguments: object) -> None:
        words = ["run", str(bundle.path), *map(str, arguments)]
        done = CliRunner().invoke(build_app(), words, catch_exceptions=False)
        assert done.exit_code == 0, done.output

    return command


@pytest.fixture
def folder(tmp_path: Path, picture_maker: Callable[..., np.ndarray]) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), picture_maker(96, 128, 8 * number))
    return tmp_path / "in"


def test_a_picture_becomes_an_overlay_as_python_draws_it(
    run: Callable[..., None], folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    run(folder / "1.png", "-o", out, "--alpha", 0.3, "--legend", "--contours", "--palette", "color-blind")
    with Segmenter(bundle) as segmenter:
        result = segmenter(folder / "1.png")
    style = OverlayStyle(alpha=0.3, legend=True, contours=True, palette="color-blind")
    np.testing.assert_array_equal(cv2.imread(str(out)), result.overlay(style))
    assert (tmp_path / "out.json").exists()


def test_a_folder_becomes_overlays_and_masks_of_the_same_names(
    run: Callable[..., None], folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    run(folder, "-o", f"overlays:{tmp_path / 'drawn'}", "--masks", tmp_path / "masks")
    names = {"0.png", "1.png", "2.png"}
    assert {file.name for file in (tmp_path / "drawn").glob("*.png")} == names
    assert {file.name for file in (tmp_path / "masks").glob("*.png")} == names
    assert (tmp_path / "drawn" / "report.json").exists()
    with Segmenter(bundle) as segmenter:
        for name in names:
            result = segmenter(folder / name)
            drawn = cv2.imread(str(tmp_path / "drawn" / name))
            np.testing.assert_array_equal(drawn, result.overlay(legend=False))
            np.testing.assert_array_equal(labels_in(tmp_path / "masks" / name), result.labels)


def test_grey_masks_are_read_as_labels_by_opencv(
    run: Callable[..., None], folder: Path, tmp_path: Path
) -> None:
    run(folder, "-o", tmp_path / "masks", "--grey-masks")
    for file in (tmp_path / "masks").glob("*.png"):
        np.testing.assert_array_equal(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), labels_in(file))


def test_one_picture_is_no_output_for_several_frames(
    run: Callable[..., None], folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="is one picture, and source gives 3 frames; give overlays:FOLDER"):
        run(folder, "-o", tmp_path / "out.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in"]
    run(folder, "-o", tmp_path / "out.jpg", "--max-frames", 1)
    assert cv2.imread(str(tmp_path / "out.jpg")).shape == (96, 128, 3)
