"""Reading and changing PTX as text."""

import pytest

from danet_export.kernels import ptx
from danet_export.kernels.ptx import PtxError

PARAMETER = "\t.param .u64 .ptr .global .align 1 kernel_param_{}"


def module(parameters=4, body="\tret;"):
    lines = ",\n".join(PARAMETER.format(index) for index in range(parameters))
    head = ".version 8.5\n.target sm_90a\n.address_size 64\n\n"
    return f"{head}.visible .entry kernel(\n{lines}\n)\n{{\n{body}\n}}\n"


def test_the_two_scratch_pointers_go_and_nothing_else():
    body = "\tld.param.b64 %rd1, [kernel_param_1];"
    assert ptx.remove_scratch_parameters(module(4, body), 2) == module(2, body)


def test_a_scratch_pointer_that_is_read_is_refused():
    body = "\tld.param.b64 %rd1, [kernel_param_3];"
    with pytest.raises(PtxError, match="kernel_param_3 is read 1 times"):
        ptx.remove_scratch_parameters(module(4, body), 2)


def test_parameter_names_are_not_confused_with_longer_ones():
    body = "\tld.param.b64 %rd1, [kernel_param_10];"
    assert len(ptx.parameter_names(ptx.remove_scratch_parameters(module(13, body), 11))) == 11
    body = "\tld.param.b64 %rd1, [kernel_param_1];"
    assert len(ptx.parameter_names(ptx.remove_scratch_parameters(module(13, body), 11))) == 11


@pytest.mark.parametrize("parameters", [2, 3, 5])
def test_another_number_of_parameters_is_refused(parameters):
    with pytest.raises(PtxError, match="2 pointers and 2 scratch pointers"):
        ptx.remove_scratch_parameters(module(parameters), 2)


def test_a_parameter_that_is_no_pointer_is_refused():
    text = module(4).replace(PARAMETER.format(1), "\t.param .u32 kernel_param_1")
    with pytest.raises(PtxError, match=r"got '\.param \.u32 kernel_param_1'"):
        ptx.remove_scratch_parameters(text, 2)


@pytest.mark.parametrize("text", ["", module() + module()])
def test_a_module_without_or_with_two_kernels_is_refused(text):
    with pytest.raises(PtxError, match="expected one kernel"):
        ptx.entry_name(text)


STRING = ".global .align 1 .b8 _$_str[11] = {95, 95, 67, 85, 68, 65, 95, 70, 84, 90};\n"


def test_a_string_that_nothing_reads_goes_and_nothing_else():
    text = module().replace(".visible", STRING + ".visible")
    assert ptx.remove_unread_strings(text) == module()
    assert ptx.remove_unread_strings(module()) == module()


@pytest.mark.parametrize(
    ("declaration", "body"),
    [
        (STRING, "\tmov.u64 %rd1, _$_str;"),
        (STRING.replace(".global", ".visible .global"), ""),
        (STRING.replace(".align 1 .b8 _$_str[11]", ".align 4 .u32 table[2]"), ""),
        (".extern .shared .align 16 .b8 global_smem[];\n", ""),
    ],
    ids=["read", "visible", "numbers", "shared memory"],
)
def test_a_variable_that_may_be_read_stays(declaration, body):
    text = module(4, body).replace(".visible .entry", declaration + ".visible .entry")
    assert ptx.remove_unread_strings(text) == text


def test_version_and_target_are_read():
    assert ptx.ptx_version(module()) == "8.5"
    assert ptx.ptx_target(module()) == "sm_90a"


def test_the_report_of_ptxas_is_read():
    report = (
        "ptxas info    : Compiling entry function 'kernel' for 'sm_90a'\n"
        "    0 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads\n"
        "ptxas info    : Used 254 registers, used 1 barriers\n"
    )
    assert ptx.read_resources(report) == ptx.Resources(254, 20)
    with pytest.raises(PtxError, match="registers and spills"):
        ptx.read_resources("")
