"""The network without its upsampling is the same network, its labels at stride 8."""

import runpy
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from benchmarks.engines import activation_memory as script
from danet_export.graph.geometry import plan_geometry
from danet_runtime.errors import UsageError


def test_a_size_that_no_network_takes_is_refused_in_words(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["activation_memory.py", "--size", "65x130"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(script.__file__, run_name="__main__")
    assert ended.value.code == 2
    assert "must be 8k or 8k+1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "written"), [([], True), (["--depth", "50"], False), (["--size", "512x1024"], False)]
)
def test_a_part_of_the_results_does_not_replace_the_whole(monkeypatch, tmp_path, arguments, written):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    monkeypatch.setattr(script, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(script, "measure", lambda *_: {"native": 2**20})
    monkeypatch.setattr(sys, "argv", ["activation_memory.py", *arguments])
    script.main()
    assert script.RESULTS.exists() == written
    monkeypatch.setattr(sys, "argv", ["activation_memory.py", *arguments, "--output", str(tmp_path / "o")])
    script.main()
    assert (tmp_path / "o").exists()


def test_an_architecture_that_is_not_known_is_refused_before_a_network_is_made(monkeypatch):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    monkeypatch.setattr(script, "measure", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr(sys, "argv", ["activation_memory.py", "--target", "sm_999"])
    with pytest.raises(UsageError, match=r"sm_89.*\(got 'sm_999'\)"):
        script.main()


@pytest.mark.slow
def test_cams_energies_in_one_matmul_are_the_same_network():
    geometry = plan_geometry((64, 128))
    model, bodies = script.exported(18, geometry)
    whole = script.with_one_matmul(model, bodies, 512)
    body = next(f for f in onnx.load_from_string(whole).functions if f.name == "ChannelEnergy")
    assert [node.op_type for node in body.node].count("MatMul") == 1
    frame = np.random.default_rng(0).integers(0, 256, (1, 64, 128, 3), dtype=np.uint8)
    labels = []
    for content in (model, whole):
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        labels.append(session.run(None, {"frame": frame})[0])
    assert (labels[0] == labels[1]).mean() > 0.99


@pytest.mark.slow
def test_without_upsampling_the_labels_have_the_size_of_the_logits():
    geometry = plan_geometry((64, 128))
    model, bodies = script.exported(18, geometry)
    small = script.without_upsampling(model, bodies, geometry)
    body = next(f for f in onnx.load_from_string(small).functions if f.name == "UpsampleArgmax")
    assert "Resize" not in {node.op_type for node in body.node}
    session = onnxruntime.InferenceSession(small, providers=["CPUExecutionProvider"])
    (labels,) = session.run(None, {"frame": np.zeros((1, 64, 128, 3), np.uint8)})
    assert (labels.shape, labels.dtype) == ((1, 8, 16), np.uint8)
