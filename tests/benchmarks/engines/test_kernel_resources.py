"""Device memory of the plugins: derived from kernels and plugins, and noticed when one asks for any."""

import importlib
import json
import runpy
import sys

import pytest

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")
resources = importlib.import_module("benchmarks.engines.kernel_resources")

NONE = {"PositionAttention": 0, "ChannelEnergy": 0, "UpsampleArgmax": 0}
ROW = {
    **{"operator": "ChannelEnergy", "variant": "tuned", "arch": "sm_90", "tokens": 8192},
    **{"scratch_pointers": 0, "device_variables_bytes": 0},
}
STRING = ".global .align 1 .b8 _$_str[11] = {95, 95};\n"


def ptx(parameters, before="", body=""):
    declared = ",\n".join(f"\t.param .u64 .ptr .global .align 1 k_param_{i}" for i in range(parameters))
    return f".version 8.5\n.target sm_90a\n{before}.visible .entry k(\n{declared}\n)\n{{\n{body}\tret;\n}}\n"


def test_a_kernel_of_the_operators_tensors_alone_takes_none():
    assert resources.scratch_pointers(ptx(2), "ChannelEnergy") == 0
    assert resources.device_variables(ptx(5)) == (0, 0)
    assert resources.plugin_device_memory([ROW], NONE)["bytes"] == 0


def test_a_scratch_pointer_is_refused():
    more = resources.scratch_pointers(ptx(3), "ChannelEnergy")
    with pytest.raises(SystemExit, match=r"ChannelEnergy tuned for sm_90 at N=8192.*1 pointers more"):
        resources.plugin_device_memory([{**ROW, "scratch_pointers": more}], NONE)


@pytest.mark.parametrize(
    ("declaration", "size"),
    [
        (".global .align 16 .b8 buffer[4096];\n", 4096),
        (".visible .global .align 4 .f32 buffer[3];\n", 12),
        (".const .align 8 .u64 buffer;\n", 8),
    ],
)
def test_a_variable_in_device_memory_counts_where_the_code_uses_it(declaration, size):
    assert resources.device_variables(ptx(2, declaration, "\tmov.u64 %rd1, buffer;\n")) == (size, 0)
    assert resources.device_variables(ptx(2, declaration + STRING)) == (0, size + 11)
    row = {**ROW, "device_variables_bytes": size}
    assert resources.plugin_device_memory([ROW, row], NONE)["bytes"] == size


def test_a_workspace_counts_and_is_what_the_plugin_answers(monkeypatch):
    assert resources.plugin_device_memory([ROW], {**NONE, "ChannelEnergy": 64})["bytes"] == 64
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    assert resources.plugin_workspaces() == NONE

    class Greedy:
        def __init__(self, state):
            self.state = state

        def get_workspace_size(self, _inputs, _outputs):
            return 128

    monkeypatch.setattr(resources, "plugin_classes", lambda _: (Greedy, object))
    assert resources.plugin_workspaces() == dict.fromkeys(NONE, 128)


def test_a_part_of_the_kernels_is_not_the_whole():
    whole = (list(resources.SIZES), list(resources.ARCHITECTURES), "fp16")
    assert resources.is_whole(*whole)
    assert not resources.is_whole([8192], *whole[1:])
    assert not resources.is_whole(whole[0], ["sm_90"], "fp16")
    assert not resources.is_whole(*whole[:2], "bf16")


def test_an_unknown_architecture_is_refused_in_words(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kernel_resources.py", "--arch", "sm_999"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(resources.__file__, run_name="__main__")
    assert ended.value.code == 2
    assert "(got 'sm_999')" in capsys.readouterr().err


def test_its_table_fits_80_columns_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    resources.show(json.loads(resources.RESULTS.read_text())["kernels"])
    shown = capsys.readouterr().out
    assert "…" not in shown
    for name in ("PositionAttention", "ChannelEnergy", "UpsampleArgmax", "sm_120", "176 of 227"):
        assert name in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_no_recorded_kernel_leaves_unread_variables_behind():
    kernels = json.loads(resources.RESULTS.read_text())["kernels"]
    assert {row["unused_device_variables_bytes"] for row in kernels} == {0}


def test_the_recorded_figure_is_that_of_the_recorded_kernels():
    recorded = json.loads(resources.RESULTS.read_text())
    memory = recorded["plugin_device_memory_beyond_inputs_and_outputs"]
    assert resources.plugin_device_memory(recorded["kernels"], memory["workspace_bytes"]) == memory
    assert memory["bytes"] == 0
