"""The real Python bindings of TensorRT and CUDA over libraries that hold nothing but symbols.

The wheels are fetched once into ``build/bindings`` (or the folder that ``DANET_BINDINGS_CACHE`` names); the
libraries are compiled at each run. All TensorRT bindings share one package name: one process a version.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import danet_runtime

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("DANET_BINDINGS_CACHE") or HERE.parents[3] / "build" / "bindings")
RUNTIME = Path(danet_runtime.__file__).parents[1]
SUPPORT = Path(__file__).parents[3] / "support"
FETCH_TIMEOUT_S = 300
NUMPY_1 = "numpy==1.26.4"

WHEELS = {
    "10.3.0": "tensorrt-cu12-bindings==10.3.0",
    "10.13.3.9": "tensorrt-cu13-bindings==10.13.3.9",
    "10.16.1.11": "tensorrt-cu13-bindings==10.16.1.11",
    "11.4.0.106": "tensorrt-cu13-bindings==11.4.0.106",
}


def fetch(requirement: str) -> Path:
    """Unpack the wheel of ``NAME==VERSION`` for this interpreter, from the cache if it is there."""
    folder = CACHE / f"{requirement.replace('==', '-')}-cp{sys.version_info[0]}{sys.version_info[1]}"
    if folder.is_dir():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".fetch-", dir=CACHE))
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"),
                *("-d", str(partial / "wheel"), requirement),
            ],
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
        wheels = list(partial.glob("wheel/*.whl"))
        if done.returncode != 0 or len(wheels) != 1:
            pytest.fail(
                f"the API contract is tested with the wheel {requirement}, which pip could not fetch for "
                f"Python {sys.version.split()[0]}; connect to the package index once, or set "
                f"DANET_BINDINGS_CACHE to a folder that holds it unpacked as {folder.name}:\n{done.stderr}",
                pytrace=False,
            )
        with zipfile.ZipFile(wheels[0]) as archive:
            archive.extractall(partial / "unpacked")
        try:
            (partial / "unpacked").rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def compile_library(source: str, library: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.fail(
            "the API contract is tested over stub libraries, which need gcc; install it", pytrace=False
        )
    library.parent.mkdir(parents=True, exist_ok=True)
    command = ["gcc", "-shared", "-fPIC", "-Wall", "-o", str(library), str(HERE / source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def python(
    script: str, *arguments: object, path: list[Path], libraries: list[Path], environment: dict[str, str]
) -> Any:
    """Run a script of this folder in a process of its own and return the JSON on its last line."""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:danet_runtime", str(HERE / script)]
        + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={
            **os.environ,
            "PYTHONSAFEPATH": "",  # the command sets it, also where a test calls it in this very process
            "PYTHONPATH": os.pathsep.join(str(entry) for entry in [*path, RUNTIME, SUPPORT]),
            "LD_LIBRARY_PATH": os.pathsep.join(str(entry) for entry in libraries),
            **environment,
        },
    )
    assert done.returncode == 0, f"{script}:\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def stub_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The libraries that the bindings of TensorRT 10 and 11 link to, and CUDA's driver."""
    folder = tmp_path_factory.mktemp("stubs")
    for name in ("libnvinfer", "libnvinfer_plugin", "libnvonnxparser"):
        for major in (10, 11):
            compile_library("bindings_stub.c", folder / f"{name}.so.{major}")
    compile_library("driver_stub.c", folder / "driver" / "libcuda.so.1")
    return folder


@pytest.fixture(scope="session")
def with_bindings(stub_libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """``run(version, script, *arguments, numpy_1=False, **environment)`` with one TensorRT's bindings."""

    def run(version: str, script: str, *arguments: object, numpy_1: bool = False, **environment: str) -> Any:
        path = [*([fetch(NUMPY_1)] if numpy_1 else []), fetch(WHEELS[version])]
        environment.setdefault("DRIVER_STUB_RECORD", str(tmp_path_factory.mktemp("driver") / "driver.txt"))
        return python(
            script,
            *arguments,
            path=path,
            libraries=[stub_libraries, stub_libraries / "driver"],
            environment=environment,
        )

    return run


@pytest.fixture(scope="session")
def with_stand_in(stub_libraries: Path) -> Callable[..., Any]:
    """``run(script, *arguments, **environment)`` with the stand-in for TensorRT and the real cuda-python."""

    def run(script: str, *arguments: object, **environment: str) -> Any:
        return python(
            script,
            *arguments,
            path=[HERE.parent / "stand_in"],
            libraries=[stub_libraries / "driver"],
            environment=environment,
        )

    return run


@pytest.fixture
def with_cuda(stub_libraries: Path, tmp_path: Path) -> Callable[..., Any]:
    """``run(requirement, *arguments, script=..., **environment)`` with one cuda-bindings: answers, record."""

    def run(
        requirement: str | None, *arguments: object, script: str = "driver_answers.py", **environment: str
    ) -> tuple[Any, list[str]]:
        record = tmp_path / "driver.txt"
        answers = python(
            script,
            *arguments,
            path=[fetch(requirement)] if requirement else [],
            libraries=[stub_libraries / "driver"],
            environment={"DRIVER_STUB_RECORD": str(record), **environment},
        )
        return answers, record.read_text().splitlines() if record.is_file() else []

    return run
