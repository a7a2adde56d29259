"""A model that writes where it may not, in a process of its own: its context is lost. Exits as a fault does.

python illegal_access.py
"""

from __future__ import annotations

import json
import sys

import numpy as np

from danet_runtime.errors import FaultError
from danet_runtime.tensorrt.cuda.executor import Executor
from danet_runtime.tensorrt.cuda.session import CudaSession

PTX = b"""
.version 7.0
.target sm_70
.address_size 64
.visible .entry astray()
{
    .reg .b64 %address;
    mov.u64 %address, 64;
    st.global.u32 [%address], 1;
    ret;
}
\0"""


def main() -> int:
    session = CudaSession()
    with session.active():
        module = session.call("cuModuleLoadData", PTX)
        kernel = session.call("cuModuleGetFunction", module, b"astray")
    frames = 0

    def enqueue(stream: int) -> None:
        nonlocal frames
        frames += 1
        if frames == 3:
            session.call("cuLaunchKernel", kernel, 1, 1, 1, 1, 1, 1, 0, stream, 0, 0)

    executor = Executor(session, lambda _inputs, _outputs: enqueue, (1, 8, 8, 3), (1, 8, 8), graph=False)
    frame, labels = np.zeros((1, 8, 8, 3), np.uint8), np.empty((1, 8, 8), np.uint8)
    answers: dict[str, object] = {"first": None, "same_again": False, "closed": False}
    fault = None
    try:
        for _ in range(10):
            executor.collect(executor.submit(frame, labels))
    except FaultError as error:
        fault = error
        answers["first"] = next(word for word in str(error).split() if "CUDA" in word).rstrip(":")
    try:
        executor.submit(frame, labels)
    except FaultError as error:
        answers["same_again"] = error is fault
    executor.close()
    answers["closed"] = True
    print(json.dumps(answers), flush=True)
    return FaultError.exit_code


if __name__ == "__main__":
    sys.exit(main())
