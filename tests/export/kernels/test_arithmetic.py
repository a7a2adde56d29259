"""Starts the interpreter's tests in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("interpreted")

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")


@pytest.mark.parametrize("operator", ["position_attention", "channel_energy", "upsample_argmax"])
def test_the_kernel_computes_what_its_float64_reference_says(operator):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_{operator}.py"]
        + ["--rootdir", str(FOLDER.parents[3]), "-c", str(FOLDER.parents[3] / "pyproject.toml")],
        cwd=FOLDER,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
