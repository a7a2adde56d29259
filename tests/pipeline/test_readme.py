"""The README's Python runs as it stands there."""

import ast
import re
from pathlib import Path

import cv2
import pytest

from danet_export.frames import pattern

README = Path(__file__).resolve().parents[2] / "README.md"
BUNDLE, VIDEO = "build/demo/bundle-int8", "build/demo/scenes/video/street.mp4"


def test_the_readmes_python_labels_a_picture_and_every_frame(exported_bundle, tmp_path, capsys, monkeypatch):
    video = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 25, (256, 128))
    for seed in range(5):
        writer.write(pattern((128, 256), seed))
    writer.release()
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("picture.jpg", pattern((128, 256), 0))
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert BUNDLE in code
    assert VIDEO in code
    exec(code.replace(BUNDLE, str(exported_bundle)).replace(VIDEO, str(video)), {})  # noqa: S102
    areas, *lines = capsys.readouterr().out.splitlines()
    assert sum(ast.literal_eval(areas).values()) == pytest.approx(1)
    assert [line.split()[0] for line in lines] == list("01234")
    for name in ("overlay.png", "mask.png"):
        assert cv2.imread(name).shape == (128, 256, 3)
