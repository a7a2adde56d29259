"""Faults planted into kernels and launches: each is noticed, by a fault or by a wrong result."""

import re

import pytest

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")

from ptx_cases import attention, compiled, execute
from ptx_machine.faults import Fault

from danet_runtime.bundle.operators import OPERATORS
from danet_runtime.errors import BackendError

ORIN = attention(200, 16, 64, "sm_87")
HOPPER = attention(200, 16, 64, "sm_90", in_step=True)
THOR = attention(200, 16, 64, "sm_110")


def noticed(case, change=None, **launch):
    """Return the name of what noticed it, ``None`` where nothing did."""
    try:
        outcome = execute(case, change=change, **launch)
    except Fault as fault:
        return fault.kind
    except BackendError:
        return "driver"
    if not outcome.error <= OPERATORS[case.operator].tolerance[case.dtype]:
        return "wrong result"
    return "unwritten" if outcome.unwritten or outcome.twice else None


def edit(pattern, replacement, which=0):
    """Return a change of one match of a pattern in the text."""

    def change(entry, text):
        found = list(re.finditer(pattern, text))[which]
        return entry, text[: found.start()] + found.expand(replacement) + text[found.end() :]

    return change


def matches(case, pattern):
    return len(re.findall(pattern, compiled(case)[1].ptx))


def launched_with(**fields):
    return lambda entry, text: (entry.model_copy(update=fields), text)


def test_what_is_not_changed_is_not_noticed():
    assert noticed(ORIN) is None


@pytest.mark.parametrize(
    ("pattern", "replacement", "kind"),
    [
        (r"bar\.sync\s+0;", "", "shared-uninitialised"),
        (r"cp\.async\.wait_group\s+\d+;", "", "async-copy-not-waited"),
        (r"cp\.async\.wait_group\s+2;", "cp.async.wait_group 3;", "async-copy-not-waited"),
        (r"(?s)cp\.async\.commit_group;(?!.*cp\.async\.commit_group;)", "", "async-copy-not-waited"),
        (r"x4\.trans\.shared", "x4.shared", "wrong result"),
        (r"(st\.global\.v4\.b32 \[ %rd\d+ \+ )0", r"\g<1>65536", "global-out-of-bounds"),
        (r"(cp\.async\.cg\.shared\.global \[ %r\d+ \+ )0", r"\g<1>8", "misaligned-shared"),
    ],
)
def test_a_fault_in_an_orin_s_kernel_is_noticed(pattern, replacement, kind):
    assert noticed(ORIN, edit(pattern, replacement)) == kind


def test_every_barrier_of_an_orin_s_kernel_is_needed_and_missed():
    pattern = r"bar\.sync\s+0;"
    for which in range(0, matches(ORIN, pattern), 4):
        assert noticed(ORIN, edit(pattern, "", which)) in (
            "warp-race",
            "shared-race",
            "shared-uninitialised",
            "async-copy-not-waited",
        )


@pytest.mark.slow
def test_a_swap_of_any_two_pointers_is_noticed():
    for first in range(5):
        for second in range(first + 1, 5):
            order = list(range(5))
            order[first], order[second] = order[second], order[first]
            assert noticed(ORIN, order=order) in (
                "wrong result",
                "write-to-input",
                "global-uninitialised",
                "global-out-of-bounds",
            )


def test_too_little_shared_memory_is_noticed():
    _, kernel = compiled(ORIN)
    less = launched_with(shared_memory_bytes=kernel.shared_memory_bytes - 16)
    assert noticed(ORIN, less) == "shared-out-of-bounds"


def test_another_grid_or_block_is_noticed():
    spec, kernel = compiled(ORIN)
    assert noticed(ORIN, launched_with(grid=(*spec.grid[:2], 2))) == "global-out-of-bounds"
    assert noticed(ORIN, launched_with(grid=(spec.grid[0] - 1, *spec.grid[1:]))) in (
        "wrong result",
        "unwritten",
    )
    assert noticed(ORIN, launched_with(block=(kernel.block[0] // 2, 1, 1))) == "invalid-launch"


def test_code_for_another_architecture_is_refused_by_the_driver():
    assert noticed(ORIN, edit(r"\.target sm_87", ".target sm_86")) == "driver"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "replacement", "kind"),
    [
        (r"fence\.proxy\.async[^;]*;", "", "missing-proxy-fence"),
        (
            r"wgmma\.wait_group\.sync\.aligned\s+0;",
            "wgmma.wait_group.sync.aligned 3;",
            "register-in-flight",
        ),
        (r"bar\.sync\s+0;", "", "shared-uninitialised"),
    ],
)
def test_a_fault_in_a_hopper_s_kernel_is_noticed(pattern, replacement, kind):
    assert noticed(HOPPER, edit(pattern, replacement)) == kind


@pytest.mark.slow
def test_products_without_any_fence_before_them_are_noticed():
    def without(entry, text):
        return entry, re.sub(r"wgmma\.fence[^;]*;", "", text)

    assert noticed(HOPPER, without) == "missing-wgmma-fence"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        (r"tcgen05\.wait::st[^;]*;", "tensor-race"),
        (r"(?:@%p\d+ )?tcgen05\.commit[^;]*;", "deadlock"),
        (r"(?:@%p\d+ )?tcgen05\.dealloc[^;]*;", "tensor-memory"),
        (r"fence\.proxy\.async[^;]*;", "missing-proxy-fence"),
        (r"bar\.sync\s+0;", "shared-uninitialised"),
    ],
)
def test_a_fault_in_a_thor_s_kernel_is_noticed(pattern, kind):
    assert noticed(THOR, edit(pattern, "")) == kind
