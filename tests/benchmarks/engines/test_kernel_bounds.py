"""No bound of the kernels' machine code falls below the committed one, and no loop gains a barrier."""

import importlib
import json

import pytest

pytest.importorskip("triton", reason="Triton is not installed (it has wheels for Linux only)")
from benchmarks.gpu.cases import problem
from danet_export.kernels.architectures import ARCHITECTURES
from danet_export.kernels.bundle_kernels import VARIANTS, specify
from danet_runtime.errors import MissingDependencyError

bounds = importlib.import_module("benchmarks.engines.kernel_bounds")

NAMES = ("arch", "operator", "variant", "tokens")


def recorded():
    if not bounds.RESULTS.is_file():
        pytest.skip("no bounds are recorded yet: run python -m benchmarks.engines.kernel_bounds")
    rows = json.loads(bounds.RESULTS.read_text())["kernels"]
    return {tuple(row[name] for name in NAMES): row for row in rows}


def check(row):
    known = recorded()[tuple(row[name] for name in NAMES)]
    where = " ".join(str(row[name]) for name in NAMES)
    if row["bound"] is not None:
        assert row["bound"] >= known["bound"] - 0.005, where
    assert row["barriers"] <= known["barriers"], where
    assert row["spill_bytes"] <= known["spill_bytes"], where


@pytest.fixture(autouse=True)
def _disassembler():
    try:
        bounds.triton_tool("nvdisasm")
    except MissingDependencyError as error:
        pytest.skip(str(error))


def test_orins_position_attention_keeps_its_bound():
    architecture = ARCHITECTURES["sm_87"]
    spec = specify({"PositionAttention": problem(32768)["PositionAttention"]}, architecture, "tuned")[0]
    row = bounds.examine(spec, architecture)
    check(row)
    executed = row["matrix_instructions"] * row["warps"] * 16 * 8 * 16
    assert row["cycles"]["tensor"] == executed / 1024
    values = spec.constants["BLOCK_V"]  # a tile of 128 queries and 32 keys
    assert executed >= 128 * 32 * (64 * values // 512 + values)


@pytest.mark.slow
@pytest.mark.parametrize("tokens", bounds.TOKENS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_kernel_keeps_its_bound(name, tokens):
    for variant in VARIANTS:
        for spec in specify(problem(tokens), ARCHITECTURES[name], variant):
            check(bounds.examine(spec, ARCHITECTURES[name]))


def test_a_fallen_bound_and_a_gained_barrier_are_noticed():
    row = next(row for row in recorded().values() if row["bound"])
    check(row)
    for worse in ({"bound": row["bound"] - 0.02}, {"barriers": row["barriers"] + 1}, {"spill_bytes": 10**4}):
        with pytest.raises(AssertionError, match=row["arch"]):
            check({**row, **worse})


def test_every_kernel_is_recorded_with_all_units():
    rows = recorded()
    for name in ARCHITECTURES:
        for tokens in bounds.TOKENS:
            for variant in VARIANTS:
                assert (name, "PositionAttention", variant, tokens) in rows
                assert (name, "ChannelEnergy", variant, tokens) in rows
    for row in rows.values():
        assert row["busiest"] == max(row["cycles"], key=row["cycles"].get)
        assert row["bound"] is None or 0 < row["bound"] <= 1
        assert row["blocks"] >= 1


def test_a_part_is_not_written_over_the_whole(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kernel_bounds", "--arch", "sm_87", "--tokens", "9409"])
    monkeypatch.setattr(
        bounds,
        "examine",
        lambda *_: {**dict.fromkeys((*NAMES, "barriers", "blocks", "busiest"), "x"), "bound": None},
    )
    before = bounds.RESULTS.read_bytes() if bounds.RESULTS.is_file() else None
    bounds.main()
    assert "not written" in capsys.readouterr().out
    assert (bounds.RESULTS.read_bytes() if bounds.RESULTS.is_file() else None) == before
