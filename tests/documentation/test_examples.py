"""Each example is short and does what its first sentence says; the notebook's cells run in their order."""

from __future__ import annotations

import ast
import csv
import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from documentation import REPOSITORY

from danet_export.frames import pattern

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    cv2.imwrite(str(path), pattern((96, 192), 0))
    return path


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run_example(name: str, *arguments: object) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run_example


def test_there_are_five_of_at_most_forty_lines_and_a_notebook_without_outputs() -> None:
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert len(scripts) == 5
    for script in scripts:
        assert len(script.read_text(encoding="utf-8").splitlines()) <= 40, script
    (notebook,) = EXAMPLES.glob("*.ipynb")
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")


def test_a_picture_is_segmented_drawn_and_kept(run, exported_bundle: Path, picture: Path) -> None:
    printed = run("segment_picture.py", exported_bundle, picture, picture.parent)
    shares = [float(line.split()[-2]) for line in printed if line.endswith("%")]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert cv2.imread(str(picture.parent / "overlay.png")).shape == (96, 192, 3)
    assert cv2.imread(str(picture.parent / "mask.png")).shape[:2] == (96, 192)


def test_a_video_becomes_a_table_with_a_row_a_frame(run, exported_bundle: Path, tmp_path: Path) -> None:
    video = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 25, (192, 96))
    for seed in range(4):
        writer.write(pattern((96, 192), seed))
    writer.release()
    run("video_to_csv.py", exported_bundle, video, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows] == list("0123")
    for row in rows:
        assert sum(float(share) for share in list(row.values())[2:]) == pytest.approx(1, abs=0.01)


@pytest.mark.slow  # it runs for two seconds
def test_the_control_loop_gets_masks_that_are_new_enough(run, exported_bundle: Path) -> None:
    printed = run("newest_mask.py", exported_bundle, "synthetic:?size=64x128&fps=20", "2")
    ages = [int(line.split(" ms old")[0].split()[-1]) for line in printed if line.startswith("frame")]
    assert ages
    assert max(ages) <= 500


def test_frames_of_a_program_are_a_camera(run, exported_bundle: Path) -> None:
    printed = run("own_camera.py", exported_bundle, 3)
    assert [line.split()[0] for line in printed] == ["0", "1", "2"]


def test_two_precisions_are_compared_on_a_picture(run, exported_bundle: Path, picture: Path) -> None:
    output = picture.parent / "differences.png"
    (printed,) = run("compare_precisions.py", exported_bundle, picture, output)
    agreed = float(printed.split(" %")[0].split()[-1])
    assert agreed > 90
    white = (cv2.imread(str(output)) == 255).all(axis=2).mean()
    assert white >= (100 - agreed) / 100 - 1e-3


def test_the_notebooks_cells_run_in_order(exported_bundle: Path, picture: Path) -> None:
    cells = json.loads((EXAMPLES / "first_look.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict[str, object] = {}
    shown = []
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "cell", "exec"), names)  # noqa: S102
        if "BUNDLE" in names and "bundle" not in names:
            names.update(BUNDLE=str(exported_bundle), PICTURE=str(picture))
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))  # noqa: S307
    result = names["result"]
    assert cv2.imdecode(np.frombuffer(result._repr_png_(), np.uint8), cv2.IMREAD_COLOR).shape == (96, 192, 3)
    assert any(isinstance(value, float) and value > 0.9 for value in shown)  # the agreement
