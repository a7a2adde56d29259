"""What follows from a TensorRT version."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import pytest

from danet_runtime.errors import BackendError
from danet_runtime.tensorrt.build.library import Serves, library_of, parse_version


def module(version: str, name: str = "tensorrt") -> ModuleType:
    made = ModuleType(name)
    made.__version__ = version
    made.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    return made


@pytest.mark.parametrize(
    ("version", "route", "native", "flags"),
    [
        ("10.0.1", "v3", False, 2),
        ("10.3.0", "v3", False, 2),
        ("10.8.0.43", "v3", False, 2),
        ("10.9.0.34", "aot", False, 2),
        ("10.13.3.9", "aot", False, 2),
        ("10.14.1", "aot", True, 2),
        ("10.16.1.11", "aot", True, 2),
        ("11.4.0.106", "aot", True, 0),
    ],
)
def test_each_release_has_its_plugins_its_attention_and_its_typing(version, route, native, flags):
    library = library_of(module(version))
    assert (library.plugin_route, library.has_native_attention, library.network_flags) == (
        route,
        native,
        flags,
    )
    assert library.title == f"TensorRT {version}"


def test_rtx_has_native_attention_and_refuses_plugins():
    rtx = library_of(module("1.7.1.116", "tensorrt_rtx"))
    assert rtx.has_native_attention
    assert rtx.network_flags == 0
    with pytest.raises(
        BackendError, match=r"TensorRT for RTX 1\.7\.1\.116 has no plugins.*--attention native"
    ):
        rtx.plugin_route  # noqa: B018


def test_rtx_is_recognised_under_any_name():
    disguised = module("10.13.0")
    disguised.ComputeCapability = object()
    assert library_of(disguised).flavour == "tensorrt-rtx"


def test_releases_before_10_have_no_such_plugins():
    with pytest.raises(BackendError, match=r"10\.0 or later.*got TensorRT 8\.6\.2"):
        library_of(module("8.6.2")).plugin_route  # noqa: B018


def test_versions_are_numbers():
    assert parse_version("10.13.3.9.post1") == (10, 13, 3, 9)
    with pytest.raises(BackendError, match="expected a TensorRT version"):
        parse_version("unknown")


def test_what_a_module_serves_ends_before_a_release():
    serves = Serves("tensorrt", (10, 0), (10, 9))
    assert serves.includes((10, 8, 0, 43))
    assert not serves.includes((10, 9))
    assert not serves.includes((8, 6))
    assert Serves("tensorrt", (10, 9)).includes((11, 4))
