"""`danet build` over a stand-in that refuses one form of the attention after the other."""

from __future__ import annotations

import json
import re
import shutil

import onnx
import pytest
from network_nodes import custom_nodes

from danet_runtime.bundle import MANIFEST_NAME, Bundle
from danet_runtime.bundle.operators import OPERATORS

RELEASE = "10.16.1.11"


@pytest.fixture(scope="module")
def bundle(exported_bundle, kernel_adder, tmp_path_factory):
    """The exported bundle with kernels that claim to be for its network."""
    pytest.importorskip("cuda.bindings", reason="cuda-python is not installed")
    path = tmp_path_factory.mktemp("forms") / "bundle"
    shutil.copytree(exported_bundle, path)
    held = kernel_adder(Bundle.open(path), ("sm_87",))
    sizes = {
        node.operator: OPERATORS[node.operator].sizes(node.shapes, node.attributes)
        for node in custom_nodes(onnx.load_from_string(held.read(held.variant("fp16").file)))
    }
    kernels = tuple(
        kernel.model_copy(update={"shape": dict(sizes[kernel.operator])}) for kernel in held.manifest.kernels
    )
    manifest = held.manifest.model_copy(update={"kernels": kernels})
    (path / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return Bundle.open(path)


@pytest.fixture
def build(with_stand_in, bundle, tmp_path):
    """``build(step, ...)``: what `danet build` answers, one after the other in one process."""

    def run(*steps, release=RELEASE):
        command = ["build", str(bundle.path), "--backend", "tensorrt:fp16"]
        commands = [
            [
                environment,
                [*command, "--engine-dir", str(tmp_path / folder), *options],
            ]
            for environment, folder, *options in steps
        ]
        record = tmp_path / "record.txt"
        record.unlink(missing_ok=True)
        answers = with_stand_in(
            "commands_answers.py",
            json.dumps(commands),
            DRIVER_STUB_RECORD=str(tmp_path / "driver.txt"),
            TENSORRT_STAND_IN_RECORD=str(record),
            TENSORRT_STAND_IN_VERSION=release,
            TENSORRT_STAND_IN_BODIES=str(bundle.path / bundle.variant("fp16").file.path),
        )
        return answers, record.read_text().splitlines().count("build")

    return run


def manifest(folder):
    (file,) = folder.glob("*.engine.json")
    found = json.loads(file.read_text())
    return (found["attention"], found["kernel_variant"]), found["passed_over"], found["golden_agreement"]


def words_of(answer):
    """What a table says, without its frame."""
    return re.sub(r"[│\s]+", " ", answer["out"])


def refusing(*forms):
    return {"TENSORRT_STAND_IN_REFUSES": " ".join(forms)}


WRONG = {"TENSORRT_STAND_IN_LABELS": "wrong of tuned"}


def test_each_form_is_refused_in_turn_and_the_next_is_built_and_says_why(build, tmp_path):
    (all_well, tuned, both, none, wrong), builds = build(
        ({}, "0"),
        (refusing("tuned"), "1"),
        (refusing("small") | WRONG, "2"),
        (refusing("tuned", "small", "native"), "3"),
        ({"KERNELS_WRONG": "tuned"}, "4"),
    )
    assert [answer["code"] for answer in (all_well, tuned, both, none)] == [0, 0, 0, 1], (tuned, both, none)
    assert wrong["code"] == 0, wrong
    assert builds == 1 + 2 + 3 + 3 + 1
    form, passed_over, _ = manifest(tmp_path / "4")
    assert form == ("plugin", "small")
    assert "computes wrongly on this GPU: error 1.0e+00 of float64, at most 5.0e-01" in passed_over[0]
    assert manifest(tmp_path / "0") == (("plugin", "tuned"), [], 1.0)
    assert "failed" not in all_well["err"]
    form, passed_over, agreement = manifest(tmp_path / "1")
    assert (form, agreement) == (("plugin", "small"), 1.0)
    assert passed_over == [
        "the plugin with tuned kernels: TensorRT 10.16.1.11 cannot build the model: no implementation: tuned"
    ]
    assert "Trying the plugin with small kernels" in " ".join(tuned["err"].split())
    # After plugins in the same process: the parser would take them for the native form, too.
    form, passed_over, agreement = manifest(tmp_path / "2")
    assert (form, agreement) == (("native", None), 1.0)
    assert "of the golden frame's labels in fp16; expected" in passed_over[0]
    assert "no implementation: small" in passed_over[1]
    assert not list((tmp_path / "3").glob("*.engine*"))
    last = " ".join(none["err"].split())
    for words in ("no implementation: native", "--attention reference", "Please report this", "Orin (sm_87"):
        assert words in last, last


@pytest.mark.slow
def test_what_is_asked_for_is_built_alone_and_what_was_fallen_back_to_is_reused(build, tmp_path):
    (forced, reference, fallen, again), builds = build(
        (refusing("tuned"), "0", "--kernels", "tuned"),
        ({}, "1", "--attention", "reference"),
        (refusing("tuned"), "2"),
        ({}, "2"),
    )
    assert [answer["code"] for answer in (forced, reference, fallen, again)] == [1, 0, 0, 0]
    assert builds == 1 + 1 + 2
    assert "Trying" not in forced["err"]
    assert "its maps of 128 x 128 positions take" in words_of(reference)
    assert manifest(tmp_path / "1")[0] == ("reference", None)
    assert manifest(tmp_path / "2")[0] == ("plugin", "small")
    assert "reused" in again["out"]
    assert "--rebuild tries again" in words_of(again)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("release", "form"), [("10.14.1.48", ("native", None)), ("10.13.3.9", ("plugin", "small"))]
)
def test_a_release_with_broken_plugins_takes_its_own_attention_and_one_without_that_the_small_kernels(
    build, tmp_path, release, form
):
    (answer,), _ = build((refusing("tuned"), "0"), release=release)
    assert answer["code"] == 0, answer
    assert manifest(tmp_path / "0")[0] == form
