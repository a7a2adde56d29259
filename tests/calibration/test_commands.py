"""`danet calibrate` at the command line: exit codes, the verdict's file, and a disk that is full."""

import errno
import json
import shutil
import sys
from pathlib import Path

import pytest

from danet_runtime.bundle import Bundle
from danet_runtime.cli.entry import main

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen

FEW = ("--min-class-pixels", "1", "--min-class-frames", "1")  # three small frames are labelled


def danet(monkeypatch, *arguments):
    """Run the command in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["danet", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.fixture
def calibrate(monkeypatch, balanced_bundle, image_folder, tmp_path):
    """Calibrate the balanced bundle to ``tmp_path / "out"`` with further options."""

    def run(*options, bundle=balanced_bundle.path, method="max"):
        return danet(
            monkeypatch,
            *("calibrate", bundle, "--data", image_folder, "-o", tmp_path / "out"),
            *("--count", "8", "--method", method, *options),
        )

    return run


def verdict_of(tmp_path):
    return json.loads((tmp_path / "out.verdict.json").read_text())


@pytest.fixture
def labelled_folder(labelled):
    return labelled.dataset.pairs[0].image.parents[2]


def test_a_gate_that_holds_ends_with_0_and_its_verdict(calibrate, labelled_folder, tmp_path, capsys):
    limits = ("--max-miou-drop", "40", "--max-class-drop", "60")
    assert calibrate("--labelled", labelled_folder, *limits, *FEW) == 0
    verdict = verdict_of(tmp_path)
    assert verdict["gate"] == "passed"
    assert verdict["rules"]["max_miou_drop_points"] == 40
    output = capsys.readouterr().out
    assert "INT8 everywhere" in output
    assert "traffic light (at most 60 under)" in output
    words = " ".join(output.split())
    assert "gate: passed for mIoU, traffic light, bicycle; not measured: traffic sign, person, rider" in words
    assert "traffic sign (0 in 0)" in words
    written = Bundle.open(tmp_path / "out")
    written.verify()
    assert verdict["bundle_sha256"] == written.sha256
    assert verdict["source_sha256"] == written.manifest.provenance.parent_sha256


def test_a_guarded_class_that_the_labels_do_not_show_ends_with_1(
    calibrate, labelled_folder, tmp_path, capsys
):
    assert calibrate("--labelled", labelled_folder, *FEW, "--guard", "person") == 1
    assert verdict_of(tmp_path)["gate"] == "not measured"
    assert verdict_of(tmp_path)["not_measured"] == ["person"]
    assert "person (0 pixels in 0 frames)" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_failure_replaces_the_verdict_of_an_earlier_calibration(
    calibrate, exported_bundle, tmp_path, monkeypatch
):
    (tmp_path / "out.verdict.json").write_text('{"gate": "passed"}')
    source = Bundle.open(exported_bundle).sha256

    def look(*_args, **_options):
        assert verdict_of(tmp_path)["gate"] == "not measured"
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("danet_calibration.images.images.choose_images", look)
        assert calibrate(bundle=exported_bundle) != 0
    verdict = verdict_of(tmp_path)
    assert (verdict["gate"], verdict["reason"]) == ("failed", "interrupted")
    assert (verdict["source_sha256"], verdict["bundle_sha256"]) == (source, None)


def test_a_verdict_that_cannot_be_written_ends_with_1(
    calibrate, exported_bundle, tmp_path, capsys, monkeypatch
):
    from danet_calibration.gate import verdict_file

    write = verdict_file.write_json

    def write_once(path, content):
        if content["gate"] != "not measured":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(verdict_file, "write_json", write_once)
    assert calibrate("--min-agreement", "0.5", bundle=exported_bundle) == 1
    assert "the verdict" in capsys.readouterr().err
    assert verdict_of(tmp_path)["gate"] == "not measured"


def test_a_gate_that_cannot_hold_ends_with_1_its_verdict_and_no_bundle(
    calibrate, labelled_folder, tmp_path, capsys
):
    limits = ("--max-miou-drop", "0", "--max-class-drop", "0", "--guard", "traffic light", *FEW)
    assert calibrate("--labelled", labelled_folder, *limits, "--verdict", tmp_path / "v.json") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["v.json"]
    verdict = json.loads((tmp_path / "v.json").read_text())
    assert verdict["gate"] == "failed"
    assert verdict["rules"]["guarded"] == ["traffic light"]
    captured = capsys.readouterr()
    assert "misses the gate" in captured.err
    assert "not written" in captured.out


def test_without_labels_it_says_that_agreement_alone_decided(calibrate, exported_bundle, tmp_path, capsys):
    assert calibrate("--min-agreement", "0.5", bundle=exported_bundle) == 0
    assert verdict_of(tmp_path)["gate"] == "agreement only"
    assert "gate: agreement only" in capsys.readouterr().out


def test_without_labels_too_little_agreement_ends_with_1_and_one_word(
    calibrate, exported_bundle, tmp_path, capsys
):
    assert calibrate("--min-agreement", "1", bundle=exported_bundle) == 1
    verdict = verdict_of(tmp_path)
    assert verdict["gate"] == verdict["ladder"][0]["gate"] == "failed"
    assert not (tmp_path / "out").exists()
    captured = capsys.readouterr()
    assert "not measured, for" not in captured.out
    assert "expected 100.0% or more" in " ".join(captured.err.split())


def test_a_verdict_inside_a_bundle_is_wrong_usage(calibrate, balanced_bundle, tmp_path, capsys):
    for folder in (tmp_path / "out", balanced_bundle.path):
        assert calibrate("--verdict", folder / "verdict.json") == 2
        assert "lies in the bundle" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "message"),
    [(("--guard", "tram"), "no class 'tram'"), (("--max-miou-drop", "inf"), "expected a finite number")],
)
def test_rules_that_make_no_sense_are_wrong_usage(calibrate, tmp_path, capsys, option, message):
    assert calibrate(*option) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_of_a_later_version_is_refused_before_anything_is_read(
    calibrate, exported_bundle, tmp_path, capsys
):
    later = shutil.copytree(exported_bundle, tmp_path / "later")
    manifest = json.loads((later / "manifest.json").read_text())
    (later / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 2}))
    assert calibrate(bundle=later) == 1
    assert "expected schema_version 1, got 2" in capsys.readouterr().err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["later", "out.verdict.json"]
    assert verdict_of(tmp_path)["gate"] == "failed"


@pytest.mark.parametrize("name", ["model.int8.onnx", "calibration.json", "manifest.json"])
def test_a_full_disk_keeps_the_old_bundle_and_leaves_nothing_half_written(
    calibrate, exported_bundle, tmp_path, capsys, monkeypatch, name
):
    old = shutil.copytree(exported_bundle, tmp_path / "out")
    before = {file: file.read_bytes() for file in sorted(old.rglob("*")) if file.is_file()}
    write = Path.write_bytes

    def write_until_full(path, data):
        if path.name == name and ".partial" in str(path):
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", write_until_full)
    assert calibrate("--overwrite", "--min-agreement", "0.5", bundle=exported_bundle) == 1
    stderr = capsys.readouterr().err
    assert "No space left on device" in stderr
    assert name in stderr
    assert str(tmp_path) in stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "out.verdict.json"]
    assert verdict_of(tmp_path)["gate"] == "failed"
    assert name in verdict_of(tmp_path)["reason"]
    assert {file: file.read_bytes() for file in sorted(old.rglob("*")) if file.is_file()} == before


def test_with_a_trusted_key_an_unsigned_bundle_is_refused_before_it_is_parsed(
    calibrate, exported_bundle, monkeypatch, tmp_path, capsys
):
    unsigned = shutil.copytree(exported_bundle, tmp_path / "unsigned")
    (unsigned / "manifest.json").write_text("not even JSON")
    assert danet(monkeypatch, "keygen", tmp_path / "key") == 0
    trusted = ("--trusted-key", tmp_path / "key.pub")
    for options, bundle in (((), unsigned), (("--reference", unsigned), None)):
        if bundle is None:  # the one that is calibrated is signed, the one that it is held to is not
            bundle = shutil.copytree(exported_bundle, tmp_path / "signed")
            assert danet(monkeypatch, "sign", bundle, "--key", tmp_path / "key") == 0
        capsys.readouterr()
        assert calibrate(*trusted, *options, bundle=bundle) == 1
        assert f"{unsigned} is not signed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--labelled", "NOWHERE"), "NOWHERE is not a folder"),
        (("--labelled", "LABELLED", "--split", "nosuch"), "has no split 'nosuch'"),
        (("--data", "NOWHERE"), "--data: NOWHERE does not exist"),
        (("--labelled", "LABELLED", "--reference", "NOWHERE"), "NOWHERE does not exist"),
        (("--trusted-key", "NOWHERE"), "NOWHERE"),
    ],
)
def test_a_path_or_a_split_that_is_not_there_is_wrong_usage(
    calibrate, labelled_folder, tmp_path, capsys, option, message
):
    places = {"NOWHERE": str(tmp_path / "nowhere"), "LABELLED": str(labelled_folder)}
    assert calibrate(*(places.get(word, word) for word in option)) == 2
    assert message.replace("NOWHERE", places["NOWHERE"]) in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
