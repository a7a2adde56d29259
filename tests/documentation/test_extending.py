"""The source and the sink of docs/extending.md run as they stand there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from documentation import blocks


@pytest.mark.slow
def test_the_source_and_the_sink_of_the_page_run_as_they_stand_there(
    exported_bundle: Path, tmp_path: Path
) -> None:
    programs = {block.title: block.text for block in blocks("python") if block.page == "docs/extending.md"}
    assert set(programs) == {"mine.py", "program.py"}
    for name, text in programs.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "bundle").symlink_to(exported_bundle)
    frames = np.random.default_rng(0).integers(0, 255, (3, 720, 1280, 3), np.uint8)
    (tmp_path / "drive.raw").write_bytes(frames.tobytes())
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "1", "2"]
    shares = [float(line) for line in (tmp_path / "road.txt").read_text().split()]
    assert len(shares) == 3
    assert all(0 <= share <= 1 for share in shares)
