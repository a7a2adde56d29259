"""``danet build`` with the real TensorRT for RTX, which needs no GPU: built once, reused, never stale."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sys
from pathlib import Path

import danet_command
import pytest

from danet_runtime.bundle import MANIFEST_NAME, Bundle, Quantisation
from danet_runtime.cli.entry import main
from danet_runtime.files.atomic import sha256_of
from danet_runtime.tensorrt import engine_build

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")


@pytest.fixture
def danet(monkeypatch, capsys):
    """``danet(*arguments)`` in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["danet", *map(str, arguments)])
        with pytest.raises(SystemExit) as ending:
            main()
        out, err = capsys.readouterr()
        return int(ending.value.code or 0), out, err

    return run


@pytest.fixture
def build(danet, exported_bundle, tmp_path):
    return lambda *options: danet(
        "build", exported_bundle, "--target", "sm_89", "--engine-dir", tmp_path / "engines", *options
    )


def manifests(folder: Path) -> list[dict]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*.engine.json"))]


def test_an_engine_is_written_with_a_manifest_that_says_what_it_is(build, exported_bundle, tmp_path):
    code, out, err = build("--target", "sm_120")
    assert code == 0, err
    (manifest,) = manifests(tmp_path / "engines")
    plan = tmp_path / "engines" / manifest["file"]
    assert str(plan) in out
    assert sha256_of(plan.read_bytes()) == manifest["engine_sha256"]
    assert manifest["targets"] == ["sm_120", "sm_89"]
    assert manifest["bundle_sha256"] == sha256_of((exported_bundle / MANIFEST_NAME).read_bytes())
    assert (manifest["precision"], manifest["attention"]) == ("fp16", "native")
    assert manifest["activation_memory_bytes"] > 0
    if manifest["device"] is None:
        assert manifest["golden_agreement"] is None
        assert "not run: no such GPU" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([("--optimization-level", 1), ("--precision", "fp32")], id="level and precision"),
        pytest.param(
            [("--workspace-mib", 512), ("--attention", "reference"), ("--target", "sm_86")],
            id="memory, attention and target",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_same_request_is_reused_and_a_changed_one_is_built(build, tmp_path, changes):
    assert "written: " in build()[1]
    (first,) = manifests(tmp_path / "engines")
    assert "reused: " in build()[1]
    assert "reused: " in build("--target", "sm_89")[1]
    assert manifests(tmp_path / "engines") == [first]
    for options in changes:
        before = len(manifests(tmp_path / "engines"))
        assert "written: " in build(*options)[1], options
        assert len(manifests(tmp_path / "engines")) == before + 1, options
    assert "written: " in build("--rebuild")[1]
    again = [manifest for manifest in manifests(tmp_path / "engines") if manifest["file"] == first["file"]]
    assert again[0]["built"] > first["built"]


def test_a_plan_that_is_none_is_not_reused_whatever_its_manifest_says(build, tmp_path):
    assert build()[0] == 0
    (file,) = (tmp_path / "engines").glob("*.engine.json")
    manifest = json.loads(file.read_text())
    garbage = b"no plan" * 1000
    (tmp_path / "engines" / manifest["file"]).write_bytes(garbage)
    changed = {"engine_sha256": sha256_of(garbage), "engine_bytes": len(garbage)}
    file.write_text(json.dumps({**manifest, **changed}))
    assert "written: " in build()[1]
    assert manifests(tmp_path / "engines")[0]["engine_sha256"] == manifest["engine_sha256"]


def test_a_trusted_key_vouches_for_the_bundle_and_the_folder_for_the_engines(
    danet, exported_bundle, tmp_path
):
    shutil.copytree(exported_bundle, tmp_path / "bundle")
    folder = tmp_path / "engines"
    command = ("build", tmp_path / "bundle", "--target", "sm_89", "--engine-dir", folder)
    trusting = (*command, "--trusted-key", tmp_path / "key.pub")
    assert danet("keygen", tmp_path / "key")[0] == 0
    code, _, err = danet(*trusting)
    assert code == 1
    assert "is not signed" in err
    assert danet("sign", tmp_path / "bundle", "--key", tmp_path / "key")[0] == 0
    code, _, err = danet(*trusting)
    assert code == 0
    assert f"those in {folder} are trusted because nobody but you can write there" in " ".join(err.split())
    assert "are trusted" not in danet(*command)[2]
    folder.chmod(0o777)
    code, out, err = danet(*trusting)
    assert (code, out) == (1, "")
    assert f"chmod go-w {folder}" in err
    assert "are trusted" not in err


def test_what_is_known_ahead_of_time_is_told_apart_from_a_device(build, tmp_path):
    assert build("--target", "sm_86")[0] == 0
    (manifest,) = manifests(tmp_path / "engines")
    assert manifest["gpu"] is None
    there = manifest["ahead_of_time"]
    assert there["targets"] == ["sm_86", "sm_89"]
    assert there["builder_platform"] == manifest["platform"]
    assert int(there["builder_cuda"]) >= 12
    assert (manifest["conv_mac_share_int8"], manifest["int8_convolutions"]) == (0.0, None)


def test_an_int8_variant_that_becomes_no_int8_engine_fails_and_is_not_kept(danet, exported_bundle, tmp_path):
    path = shutil.copytree(exported_bundle, tmp_path / "bundle")
    manifest = Bundle.open(path).manifest
    promised = Quantisation(
        method="max",
        calibration_frames=8,
        calibration_sha256="0" * 64,
        conv_mac_share_int8=0.97,
        quantize_nodes=9,
    )
    pretender = manifest.variants["fp16"].model_copy(update={"quantisation": promised})
    agreement = {**manifest.golden.agreement, "int8": 0.9}
    changes = {
        "variants": {**manifest.variants, "int8": pretender},
        "golden": manifest.golden.model_copy(update={"agreement": agreement}),
    }
    (path / MANIFEST_NAME).write_text(manifest.model_copy(update=changes).to_json())
    command = ("build", path, "--target", "sm_89", "--engine-dir", tmp_path / "engines")
    code, _, err = danet(*command, "--precision", "int8")
    assert code == 1
    assert re.search(r"none of its \d+ convolutions on INT8, where the bundle gives 97\.0%", err)
    assert manifests(tmp_path / "engines") == []


def test_a_full_disk_is_told_with_its_place_and_the_engine_stays(build, tmp_path, monkeypatch):
    folder = tmp_path / "engines"
    assert build()[0] == 0
    before = manifests(folder)

    def full(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # The first is found before the build, the other when the plan is written.
    for place in ("danet_runtime.files.atomic.os.posix_fallocate", "danet_runtime.files.durability.os.fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(place, full)
            if "fallocate" in place:
                patch.setattr(engine_build, "build_plan", None)
            code, out, err = build("--rebuild")
        assert (code, out) == (1, "")
        last = err.strip().splitlines()[-1]
        assert f"danet: error: {folder}" in last
        assert "No space left on device; make room there, or give another path" in last
        assert manifests(folder) == before
        assert (folder / before[0]["file"]).is_file()


@pytest.mark.parametrize(("precision", "full"), [("fp32", True), ("fp16", False)])
def test_an_fp32_engine_computes_in_fp32(build, monkeypatch, precision, full):
    asked = []

    def noted(library, model, setup, *_arguments, **_options):
        asked.append(setup.full_fp32)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine_build, "build_plan", noted)
    assert build("--backend", f"tensorrt-rtx:{precision}")[0] == 1
    assert asked == [full]


def test_what_the_bundle_does_not_hold_is_refused_and_nothing_is_made(build, tmp_path):
    code, _, err = build("--precision", "int8")
    assert code == 2
    assert "danet calibrate" in err
    assert not (tmp_path / "engines").exists()


def test_a_folder_that_cannot_be_written_is_told(danet, exported_bundle, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = danet(
        "build", exported_bundle, "--target", "sm_89", "--engine-dir", tmp_path / "file" / "engines"
    )
    assert code == 2
    assert f"cannot be made: {tmp_path / 'file'} is a file" in err


def test_the_command_as_it_is_installed(exported_bundle, tmp_path):
    done = danet_command.danet("build", exported_bundle, "--target", "sm_89", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    (manifest,) = manifests(tmp_path / "danet" / "engines")
    assert (tmp_path / "danet" / "engines" / manifest["file"]).is_file()


def test_an_interruption_is_told_in_one_line_and_nothing_is_kept(build, monkeypatch, tmp_path):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(engine_build, "build_plan", interrupted)
    code, out, err = build()
    assert (code, out) == (1, "")
    assert err.strip() == "danet: interrupted; nothing was kept"
    assert not [file for file in (tmp_path / "engines").iterdir() if file.is_file()]


def test_without_tensorrt_running_and_building_say_the_same_before_they_look_for_a_gpu(
    danet, bundle, video_maker, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    video = video_maker(tmp_path / "in.mp4", 2)
    messages = set()
    for command in (("build",), ("run", video), ("run", video, "--build"), ("profile",)):
        name, *rest = command
        code, _, err = danet(name, bundle.path, *rest, "--backend", "tensorrt", "--precision", "fp32")
        assert code == 1
        messages.add(err)
    (message,) = messages
    assert "needs TensorRT, which is not installed" in message


def test_running_on_a_machine_without_a_gpu_is_refused_in_one_line(danet, bundle, video_maker, tmp_path):
    driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-python is not installed")
    try:
        (status,) = driver.cuInit(0)
    except RuntimeError:
        status = None
    if status is not None and int(status) == 0:
        pytest.skip("this machine has a CUDA GPU")
    video = video_maker(tmp_path / "in.mp4", 2)
    for options in (("tensorrt-rtx",), ("tensorrt-rtx", "--build")):
        for command in (("run", bundle.path, video), ("profile", bundle.path)):
            code, _, err = danet(*command, "--backend", *options, "--precision", "fp32")
            assert code == 1
            assert "expected an NVIDIA driver, found none" in err or "cuInit failed" in err
            assert len(err.strip().splitlines()) == 1
