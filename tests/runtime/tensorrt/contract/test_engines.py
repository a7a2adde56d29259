"""`danet build` and `danet run --backend tensorrt` as a whole, over the real cuda-python.

The driver is the stub, whose device memory is the host's; TensorRT is the stand-in, which computes with ONNX
Runtime. So labels are real, and every call is recorded in order.
"""

from __future__ import annotations

import json
import re
import shlex

import pytest

FRAME, LABELS = 48 * 64 * 3, 48 * 64
ELSEWHERE = {"DRIVER_STUB_NAME": "Thor", "DRIVER_STUB_CAPABILITY": "110"}
TENSORRT = ("--backend", "tensorrt", "--precision", "fp32")
WRONG = {"TENSORRT_STAND_IN_LABELS": "wrong", "TENSORRT_STAND_IN_SALT": "new"}


@pytest.fixture(autouse=True)
def installed():
    pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")


@pytest.fixture
def danet(with_stand_in, tmp_path):
    """``danet([environment, *arguments], ...)``: the answers, and the calls in their order."""

    def run(*steps):
        record = tmp_path / "record.txt"
        record.unlink(missing_ok=True)
        split = [[step[0], [str(part) for part in step[1:]]] for step in steps]
        answers = with_stand_in(
            "commands_answers.py",
            json.dumps(split),
            DRIVER_STUB_RECORD=str(record),
            TENSORRT_STAND_IN_RECORD=str(record),
            XDG_CACHE_HOME=str(tmp_path / "cache"),
        )
        return answers, record.read_text().splitlines() if record.is_file() else []

    return run


def test_from_no_engine_to_labels_with_the_very_command_that_the_error_gives(
    danet, bundle, tmp_path, video_maker
):
    video = video_maker(tmp_path / "in.avi", 3)
    run = ({}, "run", bundle.path, video, *TENSORRT)
    (refused,), _ = danet(run)
    assert refused["code"] == 1
    command = re.search(r"build one: `danet (.*?)`", refused["err"])
    assert command, refused["err"]

    build = ({}, *shlex.split(command[1]))
    report = tmp_path / "r.json"
    (built, reused, done), calls = danet(build, build, (*run, "--report", report))
    assert built["code"] == reused["code"] == done["code"] == 0, (built, reused, done)
    assert "100.00% of the labels" in built["out"]
    assert "reused" in reused["out"]
    assert calls.count("build") == 1
    backend = json.loads(report.read_text())["backend"]
    assert (backend["name"], backend["precision"], backend["golden_agreement"]) == ("tensorrt", "fp32", 1.0)
    assert backend["device"]["gpu"] == {"name": "Orin", "arch": "sm_87", "multiprocessors": 16}
    assert json.loads(report.read_text())["frames"]["out"] == 3


ASIDE = ("push 64", "pop 64")  # the thread's own context is back whenever nothing is done
UPLOAD, DOWNLOAD, COMPUTE = 777, 778, 779
SHARED = 4096  # bytes of activations, once for all slots
EVENTS = 8  # a slot's: three stages with a beginning and an end, a frame and labels of another library


def opening(depth, captured=True):
    """From the context to a captured graph a slot; nothing is on the default stream, nor waits for it."""
    slot = [
        *(f"pinned {FRAME} flags=0", f"device {FRAME}", f"pinned {LABELS} flags=0", f"device {LABELS}"),
        *(*["event flags=1"] * EVENTS, "context USER_MANAGED", f"memory {SHARED}", "shape frame 1x48x64x3"),
        *("address frame", "address labels"),
    ]
    run = f"execute stream={COMPUTE}"
    calls = [
        *("retain 0", *ASIDE, "push 64", "runtime", "deserialize", f"device {SHARED}", "pop 64", "push 64"),
        *(*["stream flags=1"] * 3, *slot * depth),
        # Each once for real, so that it is prepared before it is captured.
        *[f"set {FRAME} to 0 stream={COMPUTE}", run, "prepare"] * depth,
        f"synchronize {COMPUTE}",
    ]
    for graph in range(1, depth + 1) if captured else ():
        calls += [f"capture stream={COMPUTE} mode=1", run, f"captured stream={COMPUTE}"]
        calls += [f"instantiate {graph} flags=0", f"destroy graph {graph}"]
    if not captured:
        calls += [f"capture stream={COMPUTE} mode=1", run, f"captured stream={COMPUTE}"]
    return [*calls, "pop 64"]


def infer(slot, captured=True):
    """One frame through a slot: each stage on its stream, timed, after the one before."""
    first = EVENTS * slot
    run = [f"execute stream={COMPUTE}"]
    return [
        *("push 64", f"event {first + 1} on={UPLOAD}", f"upload {FRAME} stream={UPLOAD}"),
        *(f"event {first + 2} on={UPLOAD}", f"stream={COMPUTE} waits for event {first + 2} flags=0"),
        f"event {first + 3} on={COMPUTE}",
        *([f"graph {slot + 1} stream={COMPUTE}"] if captured else run),
        *(f"event {first + 4} on={COMPUTE}", f"stream={DOWNLOAD} waits for event {first + 4} flags=0"),
        *(f"event {first + 5} on={DOWNLOAD}", f"download {LABELS} stream={DOWNLOAD}"),
        *(f"event {first + 6} on={DOWNLOAD}", "pop 64"),
        *("push 64", f"host waits for event {first + 6}", "pop 64"),
    ]


def closing(depth, captured=True):
    """Everything in the opposite order of its making, after a look whether the GPU is at rest."""
    freed = []
    for slot in range(depth - 1, -1, -1):
        freed += [f"destroy event {EVENTS * slot + event}" for event in range(EVENTS, 0, -1)]
        freed += ["free device", "free pinned", "free device", "free pinned"]
    graphs = [f"destroy executable {graph}" for graph in range(depth, 0, -1)] if captured else []
    streams = [f"destroy {stream}" for stream in (COMPUTE, DOWNLOAD, UPLOAD)]
    freed += [*streams, "free device"]
    return [*ASIDE, *ASIDE, *ASIDE, "push 64", *graphs, *freed, "pop 64", "release 0"]


@pytest.mark.parametrize("captured", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_frames_go_through_in_this_order_and_everything_is_freed(danet, bundle, tmp_path, captured):
    environment = {} if captured else {"DRIVER_STUB_NO_CAPTURE": "1"}
    build = (environment, "build", bundle.path, *TENSORRT)
    profile = (environment, "profile", bundle.path, *TENSORRT)
    measured = tmp_path / "p.json"
    answers, calls = danet(build, (*profile, "--frames", 3, "--warmup", 0, "--json", measured))
    assert [answer["code"] for answer in answers] == [0, 0], answers
    result = json.loads(measured.read_text())
    assert result["agreement"] == 1.0
    assert result["backend"]["frames_in_flight"] == 2
    assert result["backend"]["mean_ms"] == {"upload_ms": 1.5, "inference_ms": 1.5, "download_ms": 1.5}
    graph = result["backend"]["cuda_graph"]
    assert graph == "captured" if captured else "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED" in graph
    built = ["network flags=2 recorder=False", "clear TF32", "timings 0", "build"]
    assert calls[: len(built)] == built
    calls = calls[len(built) :]
    golden = [*opening(1, captured), *infer(0, captured), *closing(1, captured)]
    assert calls[: len(golden)] == golden
    profiled = [call for slot in (0, 1, 0) for call in infer(slot, captured)]
    assert calls[len(golden) :] == [*opening(2, captured), *profiled, *closing(2, captured)]


@pytest.mark.slow
def test_an_engine_that_misses_the_golden_frame_does_not_replace_the_last_good_one(danet, bundle, tmp_path):
    build = ("build", bundle.path, *TENSORRT, "--engine-dir", tmp_path / "e")
    (good,), _ = danet(({}, *build))
    before = {file.name: file.read_bytes() for file in (tmp_path / "e").glob("danet-*")}
    empty = tmp_path / "empty"
    (bad, after, first), calls = danet(
        (WRONG, *build, "--rebuild"), ({}, *build), (WRONG, *build[:-1], empty)
    )
    assert (good["code"], bad["code"], after["code"], first["code"]) == (0, 1, 0, 1)
    assert re.search(
        r"gives \d+\.\d+% of the golden frame's labels in fp32; expected 99% or more", bad["err"]
    )
    assert "It is not kept, danet-" in bad["err"]
    assert "stays" in bad["err"]
    assert "reused" in after["out"]
    assert "there was none before" in first["err"]
    assert list(empty.glob("danet-*")) == []
    assert calls.count("build") == 2
    assert {file.name: file.read_bytes() for file in (tmp_path / "e").glob("danet-*")} == before


@pytest.mark.slow
def test_an_engine_of_another_machine_is_refused_with_the_command_for_this_one(danet, bundle, tmp_path):
    engines = ("--engine-dir", tmp_path / "e")
    tensorrt = (*TENSORRT, *engines)
    profile = ("profile", bundle.path, *tensorrt, "--frames", 1, "--warmup", 0)
    build, thor, older, rebuilt, first = (
        ({}, "build", bundle.path, *tensorrt, "--optimization-level", 4, "--workspace-mib", 64),
        ({**ELSEWHERE}, *profile),
        ({"DRIVER_STUB_CUDA": "12020"}, *profile),
        ({**ELSEWHERE}, *profile, "--build"),
        ({}, *profile),
    )
    answers, calls = danet(build, thor, older, rebuilt, first)
    assert [answer["code"] for answer in answers] == [0, 1, 1, 0, 0], answers
    assert "it is for sm_87, this GPU is Thor (sm_110, 16 multiprocessors)" in answers[1]["err"]
    command = f"danet build {bundle.path} --backend tensorrt:fp32 --attention reference"
    assert (
        f"`{command} --workspace-mib 64 --optimization-level 4 --engine-dir {tmp_path / 'e'}`"
        in (answers[1]["err"])
    )
    assert "under a driver of CUDA 12.6, this one is of CUDA 12.2, which is older" in answers[2]["err"]
    assert calls.count("build") == 2  # the first, and Thor's own
    assert {"level 4", f"WORKSPACE {64 << 20}"} <= set(calls)
    assert len(list((tmp_path / "e").glob("*.engine.json"))) == 2


@pytest.mark.slow
def test_a_damaged_engine_is_never_deserialised(danet, bundle, tmp_path):
    engines = ("--engine-dir", tmp_path / "e")
    tensorrt = (*TENSORRT, *engines)
    profile = ({}, "profile", bundle.path, *tensorrt, "--frames", 1, "--warmup", 0)
    (built,), _ = danet(({}, "build", bundle.path, *tensorrt))
    assert built["code"] == 0
    (engine,) = (tmp_path / "e").glob("*.engine")
    plan = engine.read_bytes()
    for damaged, complaint in (
        (plan[:-7], f"expected {len(plan)} bytes, got {len(plan) - 7}"),
        (plan[:-1] + b"\x00", "this is not the engine that was built"),
    ):
        engine.write_bytes(damaged)
        (refused,), calls = danet(profile)
        assert refused["code"] == 1
        assert complaint in refused["err"]
        assert "build it again: `danet build" in refused["err"]
        assert "deserialize" not in calls
    (again, runs), calls = danet(({}, "build", bundle.path, *tensorrt), profile)
    assert (again["code"], runs["code"]) == (0, 0)
    assert calls.count("build") == 1


FAILING = {
    "cuInit failed with CUDA_ERROR_NO_DEVICE; this machine has no usable NVIDIA": {"DRIVER_STUB_INIT": "100"},
    "cuMemAlloc failed with CUDA_ERROR_OUT_OF_MEMORY": {"DRIVER_STUB_MEMORY": "100"},
    "cuStreamSynchronize failed with CUDA_ERROR_ILLEGAL_ADDRESS: the GPU's context is lost": {
        "DRIVER_STUB_SYNCHRONIZE": "700"
    },
    "cannot build the model: recorded by the builder": {"TENSORRT_STAND_IN_BUILD": "fails"},
}


@pytest.mark.slow
def test_what_fails_is_told_in_one_line_and_leaves_no_engine(danet, bundle, tmp_path):
    build = ("build", bundle.path, *TENSORRT, "--engine-dir", tmp_path / "e")
    answers, _ = danet(*((environment, *build) for environment in FAILING.values()))
    for complaint, answer in zip(FAILING, answers, strict=True):
        assert answer["code"] == 1
        assert complaint in answer["err"]
        assert "Traceback" not in answer["err"]
    assert list((tmp_path / "e").glob("danet-*")) == []


def test_options_that_are_not_for_a_backend_are_refused(danet, bundle):
    answers, _ = danet(
        ({}, "run", bundle.path, "x.mp4", "--build"),
        ({}, "run", bundle.path, "x.mp4", "--backend", "tensorrt", "--precision", "fp32", "--threads", 2),
        ({}, "build", bundle.path, "--backend", "tensorrt", "--target", "sm_89"),
        ({}, "build", bundle.path, "--target", "sm_89", "--optimization-level", 9),
    )
    assert [answer["code"] for answer in answers] == [2, 2, 2, 2], answers


def test_a_lost_gpu_ends_a_run_with_the_exit_code_for_the_supervisor(danet, bundle, tmp_path, video_maker):
    video = video_maker(tmp_path / "in.avi", 5)
    lost = {"DRIVER_STUB_LOST": "700"}
    (_, ended), calls = danet(
        ({}, "build", bundle.path, *TENSORRT),
        (lost, "run", bundle.path, video, *TENSORRT),
    )
    assert ended["code"] == 3, ended
    assert "cuEventSynchronize failed with CUDA_ERROR_ILLEGAL_ADDRESS" in ended["err"]
    assert "restart the process" in ended["err"]
    assert "Traceback" not in ended["err"]
    after = calls[len(calls) - calls[::-1].index("retain 0") :]
    assert not any(call.startswith(("free", "destroy event", "release")) for call in after)


@pytest.mark.slow
def test_arrays_on_the_gpu_go_through_segmenter_and_stream(danet, with_stand_in, bundle, tmp_path):
    engines = tmp_path / "e"
    (built,), _ = danet(({}, "build", bundle.path, *TENSORRT, "--engine-dir", engines))
    assert built["code"] == 0, built
    record = tmp_path / "arrays.txt"
    answers = with_stand_in("gpu_array_answers.py", bundle.path, engines, DRIVER_STUB_RECORD=str(record))
    assert answers == {
        "graph": "captured",
        **{"to the host": [True] * 4, "on the device": [True] * 4, "through a stream": [True] * 4},
        "into an array": True,
    }
    # The golden frame comes from the host, and nothing else does.
    assert sum(call.startswith("upload") for call in record.read_text().splitlines()) == 1
