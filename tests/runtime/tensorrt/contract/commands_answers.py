"""Run `danet` commands one after the other in this process: JSON of their exit codes and outputs.

python commands_answers.py STEPS      STEPS: JSON, a list of [environment, arguments]
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys

from danet_runtime.cli.entry import main


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
    print(json.dumps([answer(environment, arguments) for environment, arguments in json.loads(sys.argv[1])]))
