"""Starts the interpreter's tests in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("interpreted")
REPOSITORY = Path(__file__).resolve().parents[3]

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")


def run(selection):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", selection, str(FOLDER)),
            *("--rootdir", str(REPOSITORY), "-c", str(REPOSITORY / "pyproject.toml")),
        ],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_the_kernels_compute_what_their_float64_references_say():
    run("not slow")


@pytest.mark.slow
def test_they_do_so_for_many_more_shapes():
    run("slow")
