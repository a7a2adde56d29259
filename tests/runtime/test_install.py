"""Installing the runtime alone, as a vehicle does (needs the package index)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from danet_runtime.bundle import Bundle

RUNTIME = Path(__file__).parents[2] / "runtime"

pytestmark = pytest.mark.slow


def run(*command: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=environment,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, RUNTIME)
    if "Could not find a version" in built.stderr or "ConnectionError" in built.stderr:
        pytest.skip("the package index cannot be reached")
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("danet_runtime-*.whl")
    return found


def required_on_a_jetson(wheel: Path, extras: str) -> list[str]:
    """What the wheel itself asks for there; pip would read its markers by the Python that runs the test."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        requirements = map(Requirement, message_from_bytes(archive.read(name)).get_all("Requires-Dist", []))
        there = {"python_version": "3.10", "python_full_version": "3.10.12", "platform_machine": "aarch64"}
        asked = extras.strip("[]").split(",")
        taken = [
            requirement
            for requirement in requirements
            if requirement.marker is None
            or any(requirement.marker.evaluate({**there, "extra": extra}) for extra in asked)
        ]
    return [f"{requirement.name}{requirement.specifier}" for requirement in taken]


@pytest.fixture(scope="module")
def resolved(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], set[str]]:
    """Names that pip would install on a Jetson with JetPack 6: Python 3.10 on aarch64, wheels only."""

    @cache
    def resolve(extras: str) -> set[str]:
        folder = tmp_path_factory.mktemp("jetson")
        report = folder / "report.json"
        platforms = ("--platform", "manylinux_2_28_aarch64", "--platform", "manylinux_2_17_aarch64")
        done = run(
            *(sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--report", report),
            *("--python-version", "3.10", *platforms, "--only-binary=:all:", "--target", folder / "target"),
            *required_on_a_jetson(wheel, extras),
        )
        assert done.returncode == 0, done.stderr
        return {entry["metadata"]["name"].lower() for entry in json.loads(report.read_text())["install"]}

    return resolve


Resolved = Callable[[str], "set[str]"]
EVERYTHING = "[onnxruntime,video,signing,cuda12]"


def test_a_jetson_gets_wheels_for_all_and_no_opencv_unless_asked(resolved: Resolved) -> None:
    assert {"numpy", "pydantic", "rich", "typer"} <= resolved("")
    with_backend = resolved("[onnxruntime]")
    assert "onnxruntime" in with_backend
    assert not [
        name
        for name in resolved("") | with_backend
        if "opencv" in name or name in ("torch", "triton", "onnx")
    ]
    assert "opencv-python-headless" in resolved(EVERYTHING)


@pytest.mark.parametrize("extras", [EVERYTHING, "[cuda13]"])
def test_a_jetson_gets_wheels_of_the_drivers_bindings(resolved: Resolved, extras: str) -> None:
    assert "cuda-bindings" in resolved(extras)


def test_a_jetson_gets_a_wheel_of_what_checks_signatures(resolved: Resolved) -> None:
    assert "cryptography" in resolved(EVERYTHING)
    assert "cryptography" not in resolved("")


def test_a_fresh_environment_runs_a_bundle_without_torch(
    wheel: Path, bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path], video_reader: Callable
) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    pip = (sys.executable, "-m", "pip", "--python", tmp_path / "venv" / "bin" / "python")
    installed = run(*pip, "install", "-q", "--no-compile", f"{wheel}[onnxruntime,video]")
    assert installed.returncode == 0, installed.stderr
    listing = run(*pip, "list", "--format=freeze").stdout.lower()
    assert "onnxruntime=" in listing
    assert not [
        line for line in listing.splitlines() if line.startswith(("torch", "triton", "onnx=", "danet-train"))
    ]

    source = video_maker(tmp_path / "in.mp4", 10)
    danet = tmp_path / "venv" / "bin" / "danet"
    done = run(danet, "run", bundle.path, source, "-o", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert len(video_reader(tmp_path / "out.mp4")[0]) == 10
    helped = run(danet, "--help").stdout
    assert "run" in helped
    assert "│ train" not in helped
    assert "broken" not in helped
    assert run(danet, "doctor", bundle.path).returncode == 0
