"""The demo's figures are those of its files, and its network is held to what the demo is to show."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from benchmarks.records import demo_table
from benchmarks.tables import demo
from danet_runtime.bundle import Bundle
from danet_train.checkpoint import read_checkpoint, save_checkpoint

TOTAL = {"p50_ms": 60.5, "p95_ms": 70.4, "p99_ms": 81.6, "max_ms": 99.0}
REPORT = {
    "machine": {"cpu": "A CPU", "cpu_count": 3},
    "backend": {"name": "onnxruntime", "precision": "fp32", "threads": 2},
    "frames": {"in": 9, "out": 8, "dropped": 1, "damaged": 0},
    "fps": 12.34,
    "latency": {"total": TOTAL},
}


@pytest.fixture
def folder(tmp_path, checkpoint_file, exported_bundle):
    """A folder as the demo leaves it, with a small network and engines of two bundles."""
    model = read_checkpoint(checkpoint_file).model
    model.decode_head.pam.gamma.scale.data.fill_(0.125)
    model.decode_head.cam.gamma.scale.data.fill_(-0.25)
    save_checkpoint(tmp_path / "checkpoint.pt", model)
    record = {"miou": 0.6309, "training_seconds": 252.4, "config": {"precision": "bf16"}}
    (tmp_path / "checkpoint.json").write_text(json.dumps(record))
    shutil.copytree(exported_bundle, tmp_path / "bundle-int8")
    (tmp_path / "overlay.json").write_text(json.dumps(REPORT))
    (tmp_path / "engines").mkdir()
    sha256 = Bundle.open(tmp_path / "bundle-int8").sha256
    for name, bundle_sha256 in (("a", sha256), ("b", "0" * 64)):
        engine = {
            "bundle_sha256": bundle_sha256, "library_version": "1.7.1", "precision": "fp16",
            "targets": ["sm_86", "sm_89"], "engine_bytes": 3 << 20, "activation_memory_bytes": 5 << 19,
        }  # fmt: skip
        (tmp_path / "engines" / f"{name}.engine.json").write_text(json.dumps(engine))
    return tmp_path


def run(monkeypatch, results, *arguments):
    monkeypatch.setattr(demo_table, "RESULTS", results)
    monkeypatch.setattr(sys, "argv", ["demo_table", *map(str, arguments)])
    demo_table.main()


def test_every_figure_is_read_from_the_demos_files_and_written_as_json(folder, monkeypatch, capsys):
    run(monkeypatch, folder / "kept.json", folder)
    figures = json.loads((folder / "demo.json").read_text())
    assert figures["machine"] == REPORT["machine"]
    assert figures["trained"]["gamma"] == {"pam": 0.125, "cam": -0.25}
    assert (figures["trained"]["miou"], figures["trained"]["seconds"]) == (0.6309, 252.4)
    parameters = read_checkpoint(folder / "checkpoint.pt").model.parameters()
    assert figures["trained"]["parameters"] == sum(values.numel() for values in parameters)
    assert [engine["engine_bytes"] for engine in figures["engines"]] == [3 << 20]  # of this bundle alone
    assert figures["stream"]["frames"] == {"in": 9, "out": 8, "dropped": 1}
    printed = capsys.readouterr().out
    for words in ("0.6309", "3.0 MiB, activations 2.5 MiB", "9, 8, 1", "12.3", "60 ms, 70 ms, 82 ms"):
        assert words in " ".join(printed.replace("│", " ").split())
    assert not (folder / "kept.json").exists()


def test_what_is_kept_is_what_the_documents_tables_are_made_of(folder, monkeypatch):
    run(monkeypatch, folder / "kept" / "demo.json", folder, "--keep")
    assert (folder / "kept" / "demo.json").read_bytes() == (folder / "demo.json").read_bytes()
    made = demo.outcome(folder / "kept")
    assert "| TensorRT for RTX 1.7.1, fp16 | sm_86, sm_89; 3.0 MiB, activations 2.5 MiB |" in made
    assert "3 cores of an A CPU" in made


def test_a_network_that_falls_short_is_an_error_and_is_not_kept(folder, monkeypatch):
    record = json.loads((folder / "checkpoint.json").read_text())
    (folder / "checkpoint.json").write_text(json.dumps({**record, "miou": 0.5}))
    with pytest.raises(SystemExit, match=r"mIoU is 0\.5000"):
        run(monkeypatch, folder / "kept.json", folder, "--keep")
    assert not (folder / "kept.json").exists()


GOOD = {"miou": 0.6309, "gamma": {"pam": 0.11, "cam": -0.1}}


def test_a_network_that_learned_and_attends_falls_short_of_nothing():
    assert demo_table.shortcomings(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"miou": 0.59}, "mIoU is 0.5900, and should be 0.6 or more"),
        ({"miou": float("nan")}, "mIoU is nan"),
        ({"gamma": {"pam": 0.0, "cam": 0.1}}, "pam.gamma is 0.0000"),
        ({"gamma": {"pam": 0.1, "cam": 0.001}}, "cam.gamma is 0.0010"),
    ],
)
def test_each_thing_that_falls_short_is_said(changes, words):
    (shortcoming,) = demo_table.shortcomings({**GOOD, **changes})
    assert words in shortcoming
