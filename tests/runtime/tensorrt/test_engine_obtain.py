"""Built once, and by one process at a time, whatever happens to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from danet_runtime.bundle.golden import GoldenCheck
from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.builder import BuilderOptions
from danet_runtime.tensorrt.engine_obtain import ThisGpu, obtain_engine
from danet_runtime.tensorrt.store.lock import exclusive
from danet_runtime.tensorrt.store.manifest import EngineRequest
from danet_runtime.tensorrt.store.store import find_engine, manifest_path, manifests_of, read_engine

# Builds in a process of its own: FOLDER REQUEST PLAN HOW; prints when it builds, and what it got.
PROCESS = """
import json, os, signal, sys, time
from pathlib import Path
from types import ModuleType
from danet_runtime.tensorrt.store import store as engine_store
from danet_runtime.tensorrt.build.builder import BuiltEngine
from danet_runtime.tensorrt.store.manifest import EngineRequest
from danet_runtime.tensorrt.engine_obtain import obtain_engine
from danet_runtime.tensorrt.build.library import TensorRTLibrary

folder, request, plan, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
trt = ModuleType("tensorrt")
trt.__version__ = "10.3.0"
library = TensorRTLibrary(trt, "tensorrt", (10, 3, 0))
request = EngineRequest.model_validate_json(request)
write = engine_store._write

def dying_write(path, content):
    last = path.name.endswith(".json")
    if how == "dies in the plan" or (how == "dies in the manifest" and last):
        with engine_store.replacing(path) as partial:
            partial.write_bytes(content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
    write(path, content)

engine_store._write = dying_write

def build():
    print("building", flush=True)
    time.sleep({"sleeps": 60, "takes a while": 0.6}.get(how, 0.0))
    return BuiltEngine(plan.encode() * 1000, None, None, 1, 0.1, "10.3.0")

rebuilds = 10 if how == "rebuilds" else 1
for number in range(rebuilds):
    plan = plan if rebuilds == 1 else f"{sys.argv[3]}{number}"
    got = obtain_engine(folder, request, library, build, rebuild=how == "rebuilds")
print(json.dumps([got.reused, got.engine.manifest.engine_sha256]), flush=True)
"""


def start(folder: Path, request: EngineRequest, plan: str, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROCESS, str(folder), request.model_dump_json(), plan, how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[list[str], list]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    *printed, last = out.splitlines()
    return printed, json.loads(last)


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if file.is_file()}


def test_of_several_processes_one_builds_and_the_others_take_what_it_built(tmp_path, request_maker):
    processes = [start(tmp_path, request_maker(), f"plan {number}", "takes a while") for number in range(3)]
    answers = [finish(process) for process in processes]
    assert sum(printed.count("building") for printed, _ in answers) == 1
    assert sorted(reused for _, (reused, _) in answers) == [False, True, True]
    assert len({digest for _, (_, digest) in answers}) == 1
    assert len(names(tmp_path)) == 2


@pytest.mark.slow
def test_a_reader_sees_a_whole_engine_while_two_processes_rebuild_it(tmp_path, request_maker):
    request = request_maker()
    finish(start(tmp_path, request, "first", "now"))
    writers = [start(tmp_path, request, name, "rebuilds") for name in ("left", "right")]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        seen.add(read_engine(manifest_path(tmp_path, request)).plan[:8])
    for writer in writers:
        finish(writer)
    assert len(seen) > 2
    assert len(names(tmp_path)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", ["sleeps", "dies in the manifest", pytest.param("dies in the plan", marks=pytest.mark.slow)]
)
def test_a_killed_build_leaves_nothing_that_passes_for_an_engine(tmp_path, request_maker, how):
    request = request_maker()
    process = start(tmp_path, request, "cut short", how)
    assert process.stdout.readline() == "building\n"
    if how == "sleeps":
        process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.communicate()
    assert bool(names(tmp_path)) == (how != "sleeps")  # it left what it was writing
    assert find_engine(tmp_path, request) is None
    printed, (reused, _) = finish(start(tmp_path, request, "whole", "now"))
    assert printed == ["building"]  # and the lock had gone with the process
    assert not reused
    assert find_engine(tmp_path, request).plan[:5] == b"whole"
    assert len(names(tmp_path)) == 2


def test_who_waits_is_told_who_builds(tmp_path):
    lock = tmp_path / "locks" / "a.lock"
    waiting = []
    with exclusive(lock) as waited:
        assert not waited
        code = (
            "import sys; from pathlib import Path; from danet_runtime.tensorrt.store.lock import exclusive\n"
            "with exclusive(Path(sys.argv[1]), lambda pid: print(pid, flush=True)) as waited: print(waited)"
        )
        process = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE, text=True)
        waiting.append(process.stdout.readline())
        time.sleep(0.05)
        assert process.poll() is None
    assert waiting == [f"{os.getpid()}\n"]
    assert process.communicate(timeout=30)[0] == "True\n"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "a.lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"), exclusive(tmp_path / "a.lock"):
        pass
    assert victim.read_text() == "mine"


class Builder:
    """Counts, and gives the plans it was made with one after the other."""

    def __init__(self, made, *plans: bytes) -> None:
        self.made, self.plans, self.count = made, list(plans), 0

    def __call__(self):
        self.count += 1
        return self.made(self.plans.pop(0))


def test_the_same_request_is_built_once_and_again_only_if_that_is_asked(
    tmp_path, request_maker, built_maker, tensorrt_10_3
):
    build = Builder(built_maker, b"one", b"two", b"three")

    def obtain(rebuild=False, **changes):
        got = obtain_engine(tmp_path, request_maker(**changes), tensorrt_10_3, build, rebuild=rebuild)
        return got.reused, got.engine.plan

    assert [obtain(), obtain(), obtain(rebuild=True), obtain()] == [
        (False, b"one"),
        (True, b"one"),
        (False, b"two"),
        (True, b"two"),
    ]
    assert obtain(parsed_sha256="d" * 64) == (False, b"three")
    assert obtain() == (True, b"two")
    assert build.count == 3


def passes(_plan):
    return GoldenCheck("fp16", 1.0, 0.99, "frames")


def test_an_engine_that_this_driver_does_not_take_is_built_anew(
    tmp_path, request_maker, built_maker, tensorrt_10_3, device
):
    build = Builder(built_maker, b"one", b"two")
    request = request_maker()
    obtain_engine(tmp_path, request, tensorrt_10_3, build, here=ThisGpu(device, passes))
    older = device.model_copy(update={"cuda_driver": "12.2"})
    again = obtain_engine(tmp_path, request, tensorrt_10_3, build, here=ThisGpu(older, passes))
    assert (again.reused, again.engine.plan) == (False, b"two")
    assert again.engine.manifest.device == older


def test_a_new_engine_is_tried_and_the_last_good_one_stays_where_it_fails(
    tmp_path, request_maker, built_maker, tensorrt_10_3, device
):
    shares = {b"good": 0.995, b"bad": 0.5}
    build = Builder(built_maker, b"good", b"bad")
    here = ThisGpu(device, lambda plan: GoldenCheck("fp16", shares[plan], 0.99, "frames"))
    request = request_maker()
    good = obtain_engine(tmp_path, request, tensorrt_10_3, build, here=here)
    assert good.engine.manifest.golden_agreement == 0.995
    with pytest.raises(
        BackendError, match=r"50\.00% of the golden.*99% or more.*It is not kept, danet-.* stays"
    ):
        obtain_engine(tmp_path, request, tensorrt_10_3, build, here=here, rebuild=True)
    assert find_engine(tmp_path, request).plan == b"good"
    assert len(names(tmp_path)) == 2


def test_an_engine_that_does_not_even_run_is_not_kept(
    tmp_path, request_maker, built_maker, tensorrt_10_3, device
):
    def fails(_plan):
        raise BackendError("the GPU fell over")

    with pytest.raises(BackendError, match=r"does not run on the golden.*none before: the GPU fell over"):
        obtain_engine(
            tmp_path,
            request_maker(),
            tensorrt_10_3,
            Builder(built_maker, b"x"),
            here=ThisGpu(device, fails),
        )
    assert names(tmp_path) == set()


def test_untried_is_told_as_untried(tmp_path, request_maker, built_maker, tensorrt_10_3):
    got = obtain_engine(tmp_path, request_maker(), tensorrt_10_3, Builder(built_maker, b"x"))
    assert got.engine.manifest.golden_agreement is None


def test_an_engine_asked_for_again_goes_before_one_that_was_built_since(
    tmp_path, request_maker, built_maker, tensorrt_10_3
):
    first = request_maker()
    later = request_maker(options=BuilderOptions(optimization_level=0))
    for request in (first, later):
        assert not obtain_engine(tmp_path, request, tensorrt_10_3, built_maker).reused
    for request in (first, later):
        assert obtain_engine(tmp_path, request, tensorrt_10_3, built_maker).reused
        listed = manifests_of(tmp_path, request.bundle_sha256, request.precision, request.library)
        assert listed[0][1].key == request.key
