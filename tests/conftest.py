"""Fixtures that several packages' tests share: small checkpoints and bundles made with the real code."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
from made_once import made_once

# Times say more of what else the machine does than of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.register_profile("fast", deadline=None, max_examples=25)
hypothesis.settings.load_profile("untimed")

# Whoever starts the tests in the background may leave these ignored, and what is ignored is handed on to
# every process that a test starts and then sends one of them.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker ends with it alone."""
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what is loaded by now: to look through it takes half a second each time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Give it back: some libraries complain of what is left at the interpreter's end."""
    gc.unfreeze()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, object, object]:
    """A report may hold names that are not UTF-8, which do not travel between pytest's processes."""
    return _printable((yield))


def _printable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_printable, value))
    return value


@pytest.fixture(autouse=True)
def environment_as_before() -> Iterator[None]:
    """Take back what a command set in its own process for its children, such as ``PYTHONSAFEPATH``."""
    before = dict(os.environ)
    yield
    for name in {*os.environ, *before} - {"PYTEST_CURRENT_TEST"}:
        if name not in before:
            del os.environ[name]
        elif os.environ.get(name) != before[name]:
            os.environ[name] = before[name]


REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real driving data beside the repository; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no real driving data beside the repository (expected ../shared/data)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def checkpoint_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small DANet with random weights whose attention matters: both gammas are 1, no layer is near zero."""
    import torch

    from danet_train.checkpoint import save_checkpoint
    from danet_train.classes import CITYSCAPES
    from danet_train.model.danet import build_model

    torch.manual_seed(0)
    model = build_model(
        18, base_channels=8, stem_channels=8, head_channels=32, attention_channels=8, aux_channels=8
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.nn.init.normal_(model.decode_head.conv_seg.weight, 0.0, 0.5)
    torch.nn.init.normal_(model.decode_head.conv_seg.bias, 0.0, 0.5)
    with torch.no_grad():
        model.decode_head.pam.gamma.scale.fill_(1.0)
        model.decode_head.cam.gamma.scale.fill_(1.0)
    return made_once(
        tmp_path_factory,
        "checkpoint",
        lambda folder: save_checkpoint(folder / "checkpoint.pt", model.eval(), classes=CITYSCAPES),
    ).joinpath("checkpoint.pt")


@pytest.fixture(scope="session")
def exported_bundle(checkpoint_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of that checkpoint at 64x128, made by the code of `danet export`."""
    from danet_export.frames import pattern
    from danet_export.graph.geometry import plan_geometry
    from danet_export.pipeline import export_bundle
    from danet_train.checkpoint import read_checkpoint

    def export(folder: Path) -> None:
        loaded = read_checkpoint(checkpoint_file)
        assert loaded.classes is not None
        export_bundle(
            loaded,
            loaded.classes,
            plan_geometry((64, 128)),
            lambda size_hw: [pattern(size_hw, seed) for seed in range(2)],
            folder / "bundle",
        )

    return made_once(tmp_path_factory, "exported", export) / "bundle"
