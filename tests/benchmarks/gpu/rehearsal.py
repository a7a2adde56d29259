"""The scripts for a GPU from beginning to end without one: their own code over a make-believe CUDA.

    TRITON_INTERPRET=1 DANET_GPU_RESULTS=FOLDER python rehearsal.py [SCRIPT ...]

Replaced is what only a GPU has: the device and its sizes, its clock and memory counters, graphs, Triton's
compiler (the interpreter cannot stand beside it) and the driver, which runs the interpreter on the addresses
that it is given. What the scripts draw, compare, judge, print and record is theirs. Prints their exit codes.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import torch

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "support")]

POOL, POOL_BYTES = (0, 7), 4096
SIZES = {64: (64, 64), 81: (65, 65), 128: (64, 128)}
SCRIPTS = {
    "correctness": ["--dtype", "fp16"],
    "attention": ["--rounds", "2"],
    "channel_energy": ["--rounds", "2"],
    "network": ["--depth", "18", "--size", "64x128", "--rounds", "2"],
    "executor": ["--depth", "18", "--size", "64x128", "--frames", "6"],
    "rtx": ["--depth", "18", "--size", "64x128"],
}


class Event:
    """A clock on which everything takes a millisecond; the host is never late."""

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        return None

    def synchronize(self):
        return None

    def query(self):
        return False

    def elapsed_time(self, _end):
        return 1.0


class Graph:
    """Replays nothing: its capture has computed the output already."""

    def replay(self):
        return None

    def pool(self):
        return POOL


class Stream:
    """A stream, and any of CUDA's context managers."""

    cuda_stream = 0

    def __init__(self, *_):
        return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def wait_stream(self, _other):
        return None


class Driver:
    """Runs a bundle's kernel in the interpreter, on the addresses alone."""

    def __init__(self, own_kernels):
        self.own_kernels = own_kernels

    def load(self, loaded):
        return loaded

    def launch(self, loaded, _stream, pointers):
        kernel = loaded.kernel
        spec = self.own_kernels.find_spec(kernel.operator, kernel.tokens, kernel.variant, "sm_90")
        kinds = [torch.float32 if kind == "fp32" else torch.float16 for kind in spec.pointers.values()]
        tensors = [
            torch.frombuffer((ctypes.c_char * kind.itemsize).from_address(pointer), dtype=kind)
            for kind, pointer in zip(kinds, pointers, strict=True)
        ]
        self.own_kernels.launch_jit(spec, tensors[:-1], tensors[-1])


def replace_cuda():
    cuda = torch.cuda
    cuda.is_available = lambda: True
    cuda.get_device_capability = lambda *_: (9, 0)
    cuda.get_device_properties = lambda _: SimpleNamespace(
        name="Rehearsed GPU", major=9, minor=0, total_memory=2**30
    )
    cuda.Event, cuda.CUDAGraph, cuda.Stream, cuda.ExternalStream = Event, Graph, Stream, Stream
    cuda.graph = cuda.stream = cuda.current_stream = Stream
    cuda.mem_get_info = lambda: (2**20, 2**30)
    cuda.memory_snapshot = lambda: [
        {"segment_pool_id": POOL, "total_size": POOL_BYTES},
        {"segment_pool_id": (0, 0), "total_size": 1},
    ]
    for name in ("_sleep", "synchronize", "empty_cache", "reset_peak_memory_stats"):
        setattr(cuda, name, lambda *_: None)
    for name in ("memory_allocated", "max_memory_allocated"):
        setattr(cuda, name, lambda: 0)
    torch.compile = lambda function, **_: function  # it would need a C++ compiler


def replace_sizes_and_kernels():
    cases, measurement = (
        importlib.import_module("benchmarks.gpu.cases"),
        importlib.import_module("benchmarks.gpu.measurement"),
    )
    cases.SIZES.clear()
    cases.SIZES.update(SIZES)
    cases.D_V = 32
    measurement.DEVICE, measurement.MATMUL_EXTENT = "cpu", 64
    own_kernels = importlib.import_module("benchmarks.gpu.own_kernels")

    def make_kernels(tokens, _dtype, _arch):
        kernels = {
            (operator, variant): SimpleNamespace(
                kernel=SimpleNamespace(operator=operator, tokens=tokens, variant=variant)
            )
            for operator in get_args(own_kernels.Operator)
            for variant in get_args(own_kernels.KernelVariant)
        }
        return own_kernels.BundleKernels(kernels, importlib.import_module("triton").__version__)

    own_kernels._make_kernels = make_kernels
    own_kernels.cuda_driver = lambda: Driver(own_kernels)


def replace_executor():
    """A driver that has done everything when it returns; the network runs on the host, as it is enqueued."""
    executor = importlib.import_module("benchmarks.gpu.executor")
    simulated = importlib.import_module("simulated_cuda").SimulatedCuda
    driver, session = (
        importlib.import_module(f"danet_runtime.tensorrt.cuda.{name}") for name in ("driver", "session")
    )
    executor.open_session = lambda: session.CudaSession(driver.CudaDriver(simulated(eager=1.0)))
    labels, plain_ops = (
        executor.Model.labels,
        importlib.import_module("danet_export.ops.execution").plain_ops,
    )

    def in_any_thread(model, frame):
        with plain_ops():
            return labels(model, frame)

    executor.Model.labels = in_any_thread
    executor.tensor_at = lambda address, shape: torch.frombuffer(
        (ctypes.c_uint8 * math.prod(shape)).from_address(address), dtype=torch.uint8
    ).reshape(shape)


def main():
    stand_ins = importlib.import_module("benchmarks.streaming.stand_ins")
    folder = tempfile.TemporaryDirectory()
    bundle = stand_ins.bundle_of(
        (64, 128), Path(folder.name)
    )  # PyTorch exports nothing once it believes in a GPU
    stand_ins.bundle_of = lambda *_: bundle
    replace_cuda()
    replace_sizes_and_kernels()
    replace_executor()
    execution = importlib.import_module("danet_export.ops.execution")
    importlib.import_module("benchmarks.gpu.attention").TARGET_TOKENS = max(SIZES)
    importlib.import_module("benchmarks.gpu.network").AIMED_NETWORK = ("R-18", "64x128")
    codes = {}
    only = sys.argv[1:] or list(SCRIPTS)
    for name, arguments in {key: SCRIPTS[key] for key in only}.items():
        sys.argv = [f"{name}.py", *arguments]
        with execution.plain_ops():
            codes[name] = importlib.import_module(f"benchmarks.gpu.{name}").main()
    print(json.dumps(codes))


if __name__ == "__main__":
    main()
