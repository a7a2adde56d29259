"""``danet doctor``: what is here, what is missing and what to install; never a failure of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from danet_runtime import dependencies, machine
from danet_runtime.bundle import Bundle, FileRef, Kernel, Quantisation, write_bundle
from danet_runtime.cli.app import build_app
from danet_runtime.cli.commands import doctor_checks as doctor
from danet_runtime.cli.options.engines import open_segmenter
from danet_runtime.errors import IntegrityError, MissingDependencyError, UsageError
from danet_runtime.tensorrt import kernel_check
from danet_runtime.tensorrt.kernel_check import KernelVerdict


def invoke(*arguments: object) -> tuple[int, str, BaseException | None]:
    done = CliRunner().invoke(build_app(), ["doctor", *map(str, arguments)], env={"COLUMNS": "200"})
    return done.exit_code, done.stdout, done.exception


def test_it_lists_this_machine_and_every_optional_package() -> None:
    code, output, _ = invoke()
    assert code == 0
    for word in ("Python", "CPU", "GPU", "ONNX Runtime", "OpenCV", "FFMPEG", "GStreamer", "TensorRT-RTX"):
        assert word in output
    assert "backend onnxruntime" in output


def test_json_says_the_same_and_the_bundle_verified(bundle: Bundle) -> None:
    code, output, _ = invoke(bundle.path, "--json", "-")
    assert code == 0
    found = json.loads(output)
    assert found["bundle"]["files_verified"] == 3
    assert found["bundle"]["sha256"] == bundle.sha256
    assert list(found["backends"]) == ["onnxruntime", "tensorrt", "tensorrt-rtx"]
    assert found["backends"]["onnxruntime"] == "usable"
    if not found["gpus"]:
        assert all("not usable" in found["backends"][name] for name in ("tensorrt", "tensorrt-rtx"))
    assert {package["name"] for package in found["packages"]} == {
        "ONNX Runtime",
        "OpenCV",
        "PyAV",
        "TensorRT",
        "TensorRT-RTX",
        "cuda-python",
        "cryptography",
        "Polygraphy",
    }
    assert found["machine"]["cpu"]


def test_a_damaged_bundle_is_an_integrity_error(bundle_maker: Callable[..., Bundle], tmp_path: Path) -> None:
    damaged = bundle_maker(tmp_path / "b")
    (damaged.path / "golden" / "labels.png").unlink()
    code, _, error = invoke(damaged.path)
    assert code == 1
    assert isinstance(error, IntegrityError)
    assert error.exit_code == 1


def test_files_that_the_manifest_does_not_vouch_for_are_named(
    bundle_maker: Callable[..., Bundle], tmp_path: Path
) -> None:
    made = bundle_maker(tmp_path / "b")
    (made.path / "mine.onnx").touch()
    code, output, _ = invoke(made.path)
    assert code == 1
    assert "NOT whole" in output
    assert "mine.onnx" in output
    code, output, _ = invoke(made.path, "--json", "-")
    assert code == 1
    assert json.loads(output)["bundle"]["strangers"] == ["mine.onnx"]


def test_what_is_missing_or_broken_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: dependencies.OptionalPackage, purpose: str | None = None) -> None:
        if package is dependencies.TENSORRT:
            raise RuntimeError("driver too old")
        cause = (
            ModuleNotFoundError()
            if package is dependencies.OPENCV
            else ImportError("libcudart.so is missing")
        )
        raise MissingDependencyError(package.title, "x", package.install) from cause

    monkeypatch.setattr(doctor, "require", absent)
    found = {package.name: package for package in doctor.diagnose().packages}
    assert all(package.version is None for package in found.values())
    assert found["OpenCV"].detail.startswith('missing: pip install "danet-runtime[video]"')
    assert "JetPack's own OpenCV" in found["OpenCV"].detail
    assert found["TensorRT"].detail.startswith("broken (RuntimeError: driver too old)")
    assert found["ONNX Runtime"].detail.startswith("broken (libcudart.so is missing)")
    assert doctor.diagnose().backends["onnxruntime"].startswith("not usable: broken")


@pytest.fixture(scope="module")
def driver_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).parent / "nvml_stub.c"
    command = ["gcc", "-shared", "-fPIC", "-Wall", "-o", folder / "libnvidia-ml.so.1", source]
    subprocess.run(command, check=True)
    return folder


def gpus_with(driver: Path, **answers: object) -> tuple[list[dict[str, str]], str]:
    """What is found in a process of its own, by the real nvidia-ml-py over a driver's library of ours."""
    code = f"import json, {doctor.__name__} as doctor; print(json.dumps(doctor.find_gpus()))"
    environment = {f"NVML_STUB_{name.upper()}": str(value) for name, value in answers.items()}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(driver), **environment},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    gpus, detail = json.loads(done.stdout)
    return gpus, detail


def test_gpus_are_what_the_driver_says(driver_folder: Path) -> None:
    gpus, detail = gpus_with(driver_folder, count=2)
    assert detail == "NVML"
    assert gpus == [
        {"name": name, "driver_version": "550.54", "memory.total": "6138 MiB", "compute_cap": "8.6"}
        for name in ("NVIDIA RTX A2000 0", "NVIDIA RTX A2000 1")
    ]


def test_what_a_jetsons_driver_does_not_tell_is_left_out(driver_folder: Path) -> None:
    (gpu,), _ = gpus_with(driver_folder, memory=3)  # NVML_ERROR_NOT_SUPPORTED
    assert list(gpu) == ["name", "driver_version", "compute_cap"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answers", "start"),
    [
        ({"init": 9}, "none found (Driver Not Loaded; install NVIDIA's driver, or check"),
        ({"count": 0}, "none found (NVML counts 0)"),
        ({"counting": 999}, "none found (Unknown Error)"),
        ({"lost": 0}, "none found (GPU 0: GPU is lost)"),
    ],
)
def test_a_driver_that_does_not_answer_is_told_and_fails_nothing(
    driver_folder: Path, answers: dict[str, int], start: str
) -> None:
    gpus, detail = gpus_with(driver_folder, **answers)
    assert gpus == []
    assert detail.startswith(start)


def test_a_lost_gpu_is_told_beside_those_that_work(driver_folder: Path) -> None:
    gpus, detail = gpus_with(driver_folder, count=3, lost=1)
    assert [gpu["name"][-1] for gpu in gpus] == ["0", "2"]
    assert detail == "NVML; GPU 1: GPU is lost"


def test_without_a_driver_none_is_found(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").touch()  # no library
    gpus, detail = gpus_with(tmp_path)
    assert gpus == []
    assert detail.startswith("none found (NVML Shared Library Not Found; install NVIDIA's driver")


def test_a_jetson_is_known_by_its_release_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    release, model = tmp_path / "release", tmp_path / "model"
    monkeypatch.setattr(machine, "_TEGRA_RELEASE", release)
    monkeypatch.setattr(machine, "_DEVICE_MODEL", model)
    assert machine.jetson_release() is None
    release.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    assert machine.jetson_release() == "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic"
    model.write_bytes(b"NVIDIA Jetson Orin Nano\x00")
    assert str(machine.jetson_release()).startswith(
        "NVIDIA Jetson Orin Nano, L4T R36 (release), REVISION: 4.3"
    )


def with_int8(bundle: Bundle, path: Path, quantisation: Quantisation | None) -> Bundle:
    """The bundle with its FP32 file as its INT8 file too."""
    fp32 = bundle.variant("fp32")
    with write_bundle(path) as writer:
        for ref in bundle.manifest.files():
            writer.copy(bundle, ref)
        int8 = fp32.model_copy(update={"quantisation": quantisation})
        agreement = {**bundle.manifest.golden.agreement, "int8": 0.9}
        golden = bundle.manifest.golden.model_copy(update={"agreement": agreement})
        variants = {**bundle.manifest.variants, "int8": int8}
        writer.finish(bundle.manifest.model_copy(update={"variants": variants, "golden": golden}))
    return Bundle.open(path)


MADE = Quantisation(
    method="max", calibration_frames=8, calibration_sha256="0" * 64, conv_mac_share_int8=1.0, quantize_nodes=1
)


@pytest.mark.parametrize(
    ("found", "doubt"),
    [
        ({"gate": "agreement only", "agreement": 0.98, "agreement_of": "8 of the held-out frames"}, "98.00%"),
        ({}, "nothing measured its accuracy"),
        (None, "nothing measured its accuracy"),
    ],
)
def test_an_int8_variant_that_no_labels_gated_is_told_by_doctor_and_by_who_opens_it(
    bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    found: dict[str, object] | None,
    doubt: str,
) -> None:
    held = None if found is None else MADE.model_copy(update=found)
    doubtful = with_int8(bundle, tmp_path / "doubtful", held)
    output = invoke(doubtful.path)[1]
    assert "INT8 NOT gated" in output
    assert doubt in output
    with open_segmenter(doubtful, "int8", "onnxruntime"):
        assert doubt in capsys.readouterr().err
    with open_segmenter(doubtful, "fp32", "onnxruntime"):
        assert capsys.readouterr().err == ""


def test_doctor_says_for_what_int8_passed_and_nobody_warns(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    passed = {"gate": "passed", "gate_measured": ("person",), "gate_unmeasured": ("rider",)}
    gated = with_int8(bundle, tmp_path / "gated", MADE.model_copy(update=passed))
    assert "passed for mIoU, person; not measured: rider" in invoke(gated.path)[1]
    assert json.loads(invoke(gated.path, "--json", "-")[1])["bundle"]["int8_gate"]["not_measured"] == [
        "rider"
    ]
    with open_segmenter(gated, "int8", "onnxruntime"):
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (1e-4, 0, "right: error 1.0e-04 of float64, at most 2.0e-03"),
        (0.7, 1, "WRONG, do not use it: error 7.0e-01"),
        (float("nan"), 1, "WRONG, do not use it: error nan"),
    ],
)
def test_kernels_are_launched_where_that_is_asked_for_and_a_wrong_one_is_a_failure(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, error: float, code: int, words: str
) -> None:
    kernel = Kernel.model_construct(
        operator="ChannelEnergy", variant="small", ptx=FileRef.model_construct(path="kernels/energy.ptx")
    )
    monkeypatch.setattr(kernel_check, "check_bundle", lambda _: [KernelVerdict(kernel, error, 2e-3, 0)])
    ended, output, _ = invoke(bundle.path, "--kernels")
    assert ended == code
    assert "kernel ChannelEnergy, small" in output
    assert words in output
    ended, output, _ = invoke(bundle.path, "--kernels", "--json", "-")
    assert ended == code
    (finding,) = json.loads(output)["bundle"]["kernels"]
    assert (finding["file"], finding["right"]) == ("kernels/energy.ptx", code == 0)
    assert "kernels" not in json.loads(invoke(bundle.path, "--json", "-")[1])["bundle"]


def test_kernels_of_no_bundle_are_wrong_usage() -> None:
    _, _, error = invoke("--kernels")
    assert isinstance(error, UsageError)
    assert "danet doctor BUNDLE --kernels" in str(error)
