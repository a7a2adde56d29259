"""The README's Python runs as it stands there."""

import re
from pathlib import Path

import cv2

from danet_export.frames import pattern

README = Path(__file__).resolve().parents[2] / "README.md"
BUNDLE, VIDEO = "build/demo/bundle-int8", "build/demo/scenes/video/street.mp4"


def test_the_readmes_python_labels_every_frame(exported_bundle, tmp_path, capsys):
    video = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 25, (256, 128))
    for seed in range(5):
        writer.write(pattern((128, 256), seed))
    writer.release()
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert BUNDLE in code
    assert VIDEO in code
    exec(code.replace(BUNDLE, str(exported_bundle)).replace(VIDEO, str(video)), {})  # noqa: S102
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list("01234")
