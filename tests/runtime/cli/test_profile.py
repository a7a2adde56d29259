"""``danet profile``: the percentiles of every stage, with the golden frame or another."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from danet_runtime import Segmenter
from danet_runtime.bundle import Bundle
from danet_runtime.bundle.golden import golden_frame
from danet_runtime.cli.app import build_app
from danet_runtime.errors import IntegrityError
from danet_runtime.latency.profiling import measure


def test_the_golden_frame_is_measured_and_compared(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    done = CliRunner().invoke(
        build_app(), ["profile", str(bundle.path), "--frames", "8", "--warmup", "2", "--json", str(file)]
    )
    assert done.exit_code == 0, done.output
    for word in ("inference", "remainder", "p99", "agreement with its labels 1.0000"):
        assert word in done.output
    measured = json.loads(file.read_text())
    assert measured["latency"]["frames"] == 8
    assert list(measured["latency"]["stages"]) == ["preprocess", "inference", "postprocess"]
    assert measured["agreement"] == 1.0
    assert measured["bundle"]["sha256"] == bundle.sha256
    assert measured["bundle"]["conv_mac_share_int8"] == 0.0
    assert measured["latency"]["stages"]["preprocess"]["max_ms"] == 0


def test_a_picture_of_another_size_is_resized_and_that_is_measured_too(
    bundle: Bundle, tmp_path: Path, picture_maker: Callable[..., np.ndarray]
) -> None:
    cv2.imwrite(str(tmp_path / "x.png"), picture_maker(96, 128))
    file = tmp_path / "p.json"
    arguments = [
        "profile",
        str(bundle.path),
        "--frames",
        "3",
        "--image",
        str(tmp_path / "x.png"),
        "--json",
        str(file),
    ]
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 0, done.output
    measured = json.loads(file.read_text())
    assert measured["latency"]["stages"]["preprocess"]["p50_ms"] > 0
    assert measured["latency"]["stages"]["postprocess"]["p50_ms"] > 0
    assert measured["agreement"] is None


def test_the_warm_up_is_not_counted(bundle: Bundle) -> None:
    frame, labels = golden_frame(bundle)
    rounds = []
    with Segmenter(bundle) as segmenter:
        measured = measure(segmenter, frame, labels, frames=3, warmup=4, on_round=lambda: rounds.append(1))
    assert (measured.latency.frames, len(rounds), measured.frame_size_hw) == (3, 7, (48, 64))


def test_a_changed_golden_frame_is_not_used(bundle_maker: Callable[..., Bundle], tmp_path: Path) -> None:
    changed = bundle_maker(tmp_path / "b")
    file = changed.path / "golden" / "frame.png"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(IntegrityError):
        golden_frame(changed)


def test_wrong_golden_labels_are_an_error_after_the_figures(
    bundle: Bundle, tmp_path: Path, danet: Callable
) -> None:
    changed = Path(shutil.copytree(bundle.path, tmp_path / "changed"))
    manifest = json.loads((changed / "manifest.json").read_text())
    data = cv2.imencode(".png", np.full(bundle.manifest.frame.size_hw, 2, np.uint8))[1].tobytes()
    labels = manifest["golden"]["labels"]
    (changed / labels["path"]).write_bytes(data)
    labels.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    (changed / "manifest.json").write_text(json.dumps(manifest))
    done = danet("profile", changed, "--frames", "3", "--warmup", "0")
    assert done.returncode == 1
    assert "p99" in done.stdout
    assert "of the golden frame's labels in fp32; expected" in " ".join(done.stderr.split())
