"""The executor through the real cuda-python, over a driver that only remembers: JSON of the outcome.

Frames come from the host and from the device, labels stay there or come back; the model is a copy.

python executor_answers.py
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from danet_runtime.frames.arrays import page_aligned
from danet_runtime.tensorrt.cuda.executor import Executor
from danet_runtime.tensorrt.cuda.session import CudaSession

FRAME, LABELS = (1, 4, 6, 3), (1, 4, 6)


def main() -> dict[str, object]:
    import cuda.bindings

    session = CudaSession()

    def bind(inputs: dict[str, int], outputs: dict[str, int]) -> Callable[[int], None]:
        copied = "cuMemcpyDtoDAsync", outputs["labels"], inputs["frame"], 24
        return lambda stream: session.call(*copied, stream)

    executor = Executor(session, bind, FRAME, LABELS)  # the copies are no nodes of the stub's graph
    labels = np.empty(LABELS, np.uint8)
    frame = np.arange(72, dtype=np.uint8).reshape(FRAME)
    locked = page_aligned(LABELS)
    executor.pin(locked)
    interface = {
        **{"shape": FRAME, "typestr": "|u1", "data": (frame.ctypes.data, False)},
        **{"strides": None, "version": 3, "stream": 5},
    }
    right = []
    for given in (frame, SimpleNamespace(__cuda_array_interface__=interface)):
        for target in (labels, locked):
            target.fill(0)
            times = executor.collect(executor.submit(given, target))
            right.append(bool((target.reshape(-1) == np.arange(24)).all()))
    stays = executor.make_labels()
    executor.collect(executor.submit(frame, stays))
    right.append(ctypes.string_at(stays.address, 24) == bytes(range(24)))
    stays.read_by(6)
    del stays
    again = executor.make_labels()
    executor.collect(executor.submit(frame, again))
    foreign = SimpleNamespace(__cuda_array_interface__=interface)
    os.environ["DRIVER_STUB_FOREIGN"] = str(frame.ctypes.data)
    executor.collect(executor.submit(foreign, labels))
    answers = {
        **{"bindings": cuda.bindings.__version__, "graph": executor.graph, "right": right},
        "times": times,
    }
    executor.close()
    return answers


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    print(json.dumps(main()))
