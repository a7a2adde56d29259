"""Segmenter and Stream over an engine of the stand-in, with arrays on the stub's GPU: JSON of the outcome.

python gpu_array_answers.py BUNDLE ENGINES      with an engine built by `danet build` in ENGINES
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from danet_runtime import Segmenter, Stream
from danet_runtime.backends import open_backend
from danet_runtime.bundle import Bundle
from danet_runtime.tensorrt.device_source import DeviceSource


class GPUArray:
    """As pycuda's; the stub's device memory is the host's."""

    __module__ = "pycuda.gpuarray"

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            **{"shape": self.array.shape, "strides": self.array.strides, "typestr": self.array.dtype.str},
            **{"data": (self.array.ctypes.data, False), "stream": None, "version": 3},
        }


def main(path: Path, engines: Path) -> dict[str, object]:
    bundle = Bundle.open(path)
    random = np.random.default_rng(5)
    frames = [random.integers(0, 256, bundle.manifest.frame.shape, np.uint8) for _ in range(4)]
    with Segmenter(bundle, "fp32") as reference:
        truth = [reference.labels_of(frame) for frame in frames]
    backend = open_backend(bundle, "fp32", "tensorrt", engine_folder=engines)
    answers: dict[str, object] = {"graph": backend.describe()["cuda_graph"]}
    with Segmenter(bundle, "fp32", backend) as segmenter:
        labels = [segmenter.labels_of(GPUArray(frame)) for frame in frames]
        answers["to the host"] = [bool((a == b).all()) for a, b in zip(labels, truth, strict=True)]
        stay = [segmenter.labels_of(GPUArray(frame), on_device=True) for frame in frames]
        answers["on the device"] = [
            ctypes.string_at(one.address, two.size) == two.tobytes()
            for one, two in zip(stay, truth, strict=True)
        ]
        target = np.zeros(truth[0].shape, np.uint8)
        segmenter.infer_into(GPUArray(frames[1]), GPUArray(target))
        answers["into an array"] = bool((target == truth[1]).all())
        source = DeviceSource(map(GPUArray, frames), segmenter.frame_size_hw)
        with Stream(segmenter, source) as stream:
            answers["through a stream"] = [
                bool((result.labels == truth[result.frame_id]).all()) for result in stream
            ]
    return answers


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
