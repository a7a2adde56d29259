"""What the stand-in for TensorRT has that the bindings in this process lack: JSON.

python stand_in_answers.py STAND_IN
"""

from __future__ import annotations

import enum
import importlib.util
import inspect
import json
import sys
from pathlib import Path

import tensorrt_bindings as trt
from api_use import refuses


def lacking(stand_in: Path) -> tuple[list[str], list[str]]:
    spec = importlib.util.spec_from_file_location("stand_in", stand_in)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    missing, checked = [], []
    for name, made in inspect.getmembers(module, inspect.isclass):
        if made.__module__ != "stand_in":
            continue
        real = getattr(trt, name, None)
        if real is None:
            missing.append(name)
            continue
        members = made.__members__ if issubclass(made, enum.Enum) else vars(made)
        for member in [member for member in members if not member.startswith("_")]:
            checked.append(f"{name}.{member}")
            if not hasattr(real, member):
                missing.append(f"{name}.{member}")
            elif inspect.isfunction(vars(made).get(member)):
                arguments = len(inspect.signature(vars(made)[member]).parameters)
                if problem := refuses(getattr(real, member), arguments, []):
                    missing.append(f"{name}.{member} {problem}")
    return missing, checked


if __name__ == "__main__":
    missing, checked = lacking(Path(sys.argv[1]))
    print(json.dumps({"missing": missing, "checked": checked}))
