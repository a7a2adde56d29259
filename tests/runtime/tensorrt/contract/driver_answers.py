"""Loading and launching through the real cuda-python, over a driver that only remembers: JSON of the outcome.

python driver_answers.py BUNDLE OPERATOR VARIANT LAUNCHES POINTER...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from danet_runtime.bundle import Bundle
from danet_runtime.errors import DanetError
from danet_runtime.tensorrt.cuda.driver import cuda_driver
from danet_runtime.tensorrt.kernels.kernels import select_kernels


def main(bundle: Path, operator: str, variant: str, launches: int, pointers: list[int]) -> dict[str, object]:
    import cuda.bindings

    answers: dict[str, object] = {"bindings": cuda.bindings.__version__}
    try:
        loaded = select_kernels(Bundle.open(bundle), "sm_87", "fp16", variant)[operator]
        driver = cuda_driver()
        answers |= {"cuda": driver.cuda_release(), "arch": driver.architecture(0)}
        for _ in range(launches):
            driver.launch(driver.load(loaded), 77, pointers)
    except DanetError as error:
        answers["refused"] = str(error)
    return answers


if __name__ == "__main__":
    where, operator, variant, launches, *pointers = sys.argv[1:]
    print(json.dumps(main(Path(where), operator, variant, int(launches), [int(text) for text in pointers])))
