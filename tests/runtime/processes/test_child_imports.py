"""What lies in the working directory, beside the videos of whoever left it there, runs in no child."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mjpeg_camera import MjpegCamera

from danet_runtime.errors import DanetError, SourceError
from danet_runtime.processes.start import module_command
from danet_runtime.sinks import StreamFormat
from danet_runtime.sinks.push import PushSink
from danet_runtime.sources import open_source
from danet_runtime.sources.gstreamer import has_element

needs_gstreamer = pytest.mark.skipif(not has_element("gdppay"), reason="GStreamer is not installed")

PLANTED = ("av", "cv2", "ctypes", "danet_runtime", "multiprocessing", "numpy", "runpy", "select", "struct")


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A working directory of modules that leave a file when they are imported; tells which were."""
    for name in PLANTED:
        (tmp_path / f"{name}.py").write_text(
            f"import posix; posix.mkdir('imported.{name}')\nraise SystemExit(7)\n"
        )
    monkeypatch.chdir(tmp_path)
    return lambda: sorted(path.name for path in tmp_path.glob("imported.*"))


def open_http() -> None:
    with MjpegCamera() as camera:
        open_source(camera.uri).close()


def open_pipeline() -> None:
    open_source("gst:videotestsrc is-live=true ! video/x-raw,width=64,height=48").close()


def open_camera() -> None:
    with pytest.raises(SourceError, match="camera 63"):
        open_source("camera:63")


def open_output() -> None:
    sink = PushSink("gst:fakesink")
    sink.open(StreamFormat((48, 64), 25.0, (), np.zeros((256, 3), np.uint8)))
    sink.close()


@pytest.mark.parametrize(
    "use",
    [
        open_http,
        open_camera,
        pytest.param(open_pipeline, marks=needs_gstreamer),
        pytest.param(open_output, marks=needs_gstreamer),
    ],
)
def test_no_child_imports_from_the_working_directory(
    planted: Callable[[], list[str]], use: Callable[[], None]
) -> None:
    try:
        use()
    except DanetError as error:
        pytest.fail(f"{error}; imported: {planted()}")
    assert planted() == []


@pytest.mark.parametrize("entry", ["", ".", "{here}"])
def test_the_working_directory_is_no_place_to_import_from_under_any_name(
    planted: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    monkeypatch.setattr(sys, "path", [entry.replace("{here}", str(Path.cwd())), *sys.path])
    done = subprocess.run(module_command("json.tool", "--help"), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(module_command("danet_runtime", "--version"), check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert planted() == []


def test_a_child_finds_what_its_parent_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "found_by_the_parent.py").write_text("import sys; print(sys.argv[1:], __name__)")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    done = subprocess.run(
        module_command("found_by_the_parent", "7", "x y"), check=True, capture_output=True, text=True
    )
    assert done.stdout == "['7', 'x y'] __main__\n"


def test_workers_of_a_command_do_not_import_from_the_working_directory(
    planted: Callable[[], list[str]], tmp_path: Path
) -> None:
    script = (
        "import sys, threading\n"
        "from danet_runtime.cli import app, entry\n"
        "def work():\n"
        "    import subprocess\n"
        "    subprocess.run([sys.executable, '-c', 'import select, struct, numpy'], check=True)\n"
        "app.build_app = lambda: work\n"
        "entry.main()\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert planted() == []
