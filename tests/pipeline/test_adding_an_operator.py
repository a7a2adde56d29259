"""A new operator touches four files: a toy one is added to a copy of the packages in just that way."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from danet_runtime.bundle import Bundle

REPOSITORY = Path(__file__).resolve().parents[2]
TOY = REPOSITORY / "tests" / "support" / "toy_operator"

CONTRACT = "runtime/danet_runtime/bundle/operators.py"
OPERATOR = "export/danet_export/ops/NAME.py"
KERNEL = "export/danet_export/kernels/NAME.py"
NETWORK = "export/danet_export/graph/wrapper.py"

SPECIFICATION = """
        OperatorSpec(
            name="Halve",
            inputs=("x",),
            attributes=(),
            output=tuple(InputExtent(0, axis) for axis in range(4)),
            output_type="input",
            sizes=lambda shapes, _: {"values": int(np.prod(shapes[0]))},
            tolerance={"fp32": 1e-6, "fp16": 1e-3},
            golden=(GoldenCase({"x": [[[[1, -3]]]]}, {}, [[[[0.5, -1.5]]]]),),
        ),
    )
}
\"\"\"Every operator, by name.\"\"\"
"""


def replaced(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} does not hold once: {old}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def add_toy(root: Path) -> None:
    """Change the four files."""
    replaced(
        root / CONTRACT, '"ChannelEnergy", "UpsampleArgmax"]', '"ChannelEnergy", "UpsampleArgmax", "Halve"]'
    )
    replaced(root / CONTRACT, '\n    )\n}\n"""Every operator, by name."""\n', SPECIFICATION)
    shutil.copy(TOY / "ops.py", root / OPERATOR.replace("NAME", "halve"))
    shutil.copy(TOY / "kernel.py", root / KERNEL.replace("NAME", "halve"))
    replaced(
        root / NETWORK,
        '        return _node("UpsampleArgmax", (logits,)',
        '        logits = _node("Halve", (logits,), _NO_ATTRIBUTES)\n'
        '        return _node("UpsampleArgmax", (logits,)',
    )
    replaced(
        root / NETWORK,
        '        "UpsampleArgmax": ([logits]',
        '        "Halve": ([logits], _NO_ATTRIBUTES),\n        "UpsampleArgmax": ([logits]',
    )


def changed_files(root: Path) -> set[str]:
    """Files of the copy that are not in the repository, or not the same there."""
    files = {file.relative_to(root) for file in root.rglob("*.py")}
    return {
        file.as_posix()
        for file in files
        if not (REPOSITORY / file).exists() or not filecmp.cmp(root / file, REPOSITORY / file, shallow=False)
    }


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The runtime and the export with the toy operator."""
    root = tmp_path_factory.mktemp("copy")
    for package in ("runtime/danet_runtime", "export/danet_export"):
        shutil.copytree(REPOSITORY / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    add_toy(root)
    return root


def test_the_files_of_a_new_operator_are_those_that_the_docs_name(copy):
    wanted = {CONTRACT, OPERATOR.replace("NAME", "halve"), KERNEL.replace("NAME", "halve"), NETWORK}
    assert changed_files(copy) == wanted
    text = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
    row = re.search(r"^\| An operator \|.*$", text, re.MULTILINE)
    assert row is not None, "docs/extending.md does not say how to add an operator"
    assert set(re.findall(r"`((?:runtime|export)/[\w/]+\.py)`", row[0])) == {
        CONTRACT,
        OPERATOR,
        KERNEL,
        NETWORK,
    }


@pytest.mark.slow
def test_a_toy_operator_is_exported_compared_compiled_and_known_to_the_plugins(
    copy, checkpoint_file, exported_bundle, tmp_path
):
    pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")
    path = os.pathsep.join(str(copy / package) for package in ("runtime", "export"))
    done = subprocess.run(
        [sys.executable, str(TOY / "answers.py"), str(checkpoint_file), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert all(file.startswith(str(copy)) for file in answers["packages"])
    assert "halve" in answers["nodes"]
    assert "Halve" in answers["functions"]
    assert "Halve" in answers["operators"]
    compared = {precision: error for precision, operator, error in answers["compared"] if operator == "Halve"}
    assert set(compared) == {"fp32", "fp16"}
    assert answers["kernels"] == [["Halve", "tuned", "halve"], ["Halve", "small", "halve"]]
    assert "compiled for its own shapes alone" in answers["refused"]
    assert answers["golden"] == [0.0]
    assert answers["torch"] == [0.5, 0.5]
    usual = Bundle.open(exported_bundle)
    golden = cv2.imdecode(
        np.frombuffer(usual.read(usual.manifest.golden.labels), np.uint8), cv2.IMREAD_UNCHANGED
    )
    for labels in answers["labels"]:
        assert (np.array(labels) == golden).mean() > 0.999, "half of every logit has the same largest one"
