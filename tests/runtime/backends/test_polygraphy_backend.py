"""Polygraphy as a second opinion: the same labels by another way, quietly, or a clear error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from danet_runtime.backends.onnxruntime import OnnxRuntimeBackend
from danet_runtime.backends.polygraphy import PolygraphyBackend
from danet_runtime.bundle import Bundle
from danet_runtime.cli.app import build_app
from danet_runtime.errors import BackendError, MissingDependencyError

pytest.importorskip("polygraphy", reason="Polygraphy is not installed")


def test_it_gives_the_labels_of_the_file_and_prints_nothing(
    bundle: Bundle, picture_maker: Callable[..., np.ndarray], capfd: pytest.CaptureFixture[str]
) -> None:
    frame = picture_maker(48, 64, 7)[None]
    labels = np.zeros((2, 1, 48, 64), np.uint8)
    for kind, into in zip((OnnxRuntimeBackend, PolygraphyBackend), labels, strict=True):
        backend = kind(bundle, "fp32")
        backend.infer(frame, into)
        backend.close()
        backend.close()
    assert len(np.unique(labels[0])) > 2
    assert (labels[0] == labels[1]).all()
    assert capfd.readouterr() == ("", "")
    with pytest.raises(BackendError, match="is closed"):
        backend.infer(frame, labels[0])


def test_a_file_that_it_cannot_load_is_told_with_its_name(
    bundle_maker: Callable[..., Bundle], tmp_path: Path
) -> None:
    node = helper.make_node("NoSuchOperator", ["frame"], ["labels"])
    frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, 48, 64, 3])
    labels = helper.make_tensor_value_info("labels", TensorProto.UINT8, [1, 48, 64])
    model = helper.make_model(helper.make_graph([node], "no_such", [frame], [labels]))
    damaged = bundle_maker(tmp_path / "bundle", model=model.SerializeToString())
    with pytest.raises(BackendError, match=r"Polygraphy .* cannot load .*model\.fp32\.onnx"):
        PolygraphyBackend(damaged, "fp32")


def test_compare_takes_it_and_says_what_it_ran(
    bundle: Bundle, tmp_path: Path, video_maker: Callable[..., Path]
) -> None:
    video = video_maker(tmp_path / "in.mp4", 4)
    command = ["compare", bundle.path, "--data", video, "--b", "polygraphy:fp32", "-o", tmp_path / "out"]
    done = CliRunner().invoke(build_app(), [*map(str, command), "--least", "1"])
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert report["b"]["name"] == "polygraphy:fp32"
    assert report["b"]["backend"]["graph_optimizations"] == "none"


def test_where_it_is_not_installed_it_is_told_what_to_install(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polygraphy.backend.onnxrt", None)
    with pytest.raises(MissingDependencyError, match=r"needs Polygraphy.*danet-runtime\[polygraphy\]"):
        PolygraphyBackend(bundle, "fp32")
