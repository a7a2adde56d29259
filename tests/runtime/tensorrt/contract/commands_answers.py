"""Run `danet` commands one after the other in this process: JSON of their exit codes and outputs.

python commands_answers.py STEPS      STEPS: JSON, a list of [environment, arguments]

The stub of the driver runs no kernels. Where engines are built of them, the check that launches them
beforehand is told by KERNELS_WRONG which of their variants compute wrongly.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterable

from danet_runtime.cli.entry import main
from danet_runtime.tensorrt import engine_build
from danet_runtime.tensorrt.kernel_check import KernelVerdict
from danet_runtime.tensorrt.kernels.kernels import LoadedKernel


def check_kernels(kernels: Iterable[LoadedKernel]) -> list[KernelVerdict]:
    wrong = os.environ.get("KERNELS_WRONG", "").split()
    return [KernelVerdict(one.kernel, float(one.kernel.variant in wrong), 0.5, 0) for one in kernels]


def answer(environment: dict[str, str], arguments: list[str]) -> dict[str, object]:
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    os.environ.update(environment)  # reaches getenv of the driver's stub too
    sys.argv = ["danet", *arguments]
    code: object = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ending:
        code = ending.code or 0
    finally:
        for name in environment:
            os.environ.pop(name, None)
        os.environ.update(before)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    if "TENSORRT_STAND_IN_BODIES" in os.environ:
        engine_build.check_kernels = check_kernels
    print(json.dumps([answer(environment, arguments) for environment, arguments in json.loads(sys.argv[1])]))
