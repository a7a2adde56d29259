"""Plugins of the stand-in: TensorRT's registry, ``tensorrt.plugin``, and the form that a network is built in.

As from 10.7 on, a registered plugin is taken for a node even where the model has a function body for it.
While an engine is built each plugin is asked for its kernel, as TensorRT does. Nobody runs that kernel here:
a plan made of plugins runs the function bodies of the bundle's model, which ``TENSORRT_STAND_IN_BODIES``
names.
"""

from __future__ import annotations

import enum
import os
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from network_nodes import custom_nodes

from danet_runtime.bundle.operators import OPERATORS

DOMAIN = "danet"
FREE_SHARED_MEMORY = 48 << 10


class Creator:
    def __init__(self, name: str) -> None:
        self.name = name


class Registry:
    def __init__(self) -> None:
        self.creators: dict[tuple[str, str], Creator] = {}

    def get_creator(self, name: str, version: str, plugin_namespace: str = "") -> Creator | None:
        assert version == "1"
        return self.creators.get((plugin_namespace, name))

    def register_creator(self, creator: Creator, plugin_namespace: str = "") -> bool:
        return self.creators.setdefault((plugin_namespace, creator.name), creator) is creator

    def deregister_creator(self, creator: Creator) -> bool:
        return self.creators.pop((DOMAIN, creator.name), None) is creator


class TensorDesc:
    def __init__(self, shape: tuple[int, ...], dtype: object) -> None:
        self.shape, self.dtype = shape, dtype


class KernelLaunchParams:
    shared_mem = 0


class SymIntExprs:
    def __init__(self, count: int) -> None:
        assert count == 0


REGISTRY = Registry()
IMPLEMENTATIONS: dict[str, Callable[..., Any]] = {}


def register(identity: str) -> Callable[..., Any]:
    namespace, name = identity.split("::")
    assert REGISTRY.register_creator(Creator(name), namespace)
    return lambda function: function


def aot_impl(identity: str) -> Callable[..., Any]:
    return lambda function: IMPLEMENTATIONS.setdefault(identity.split("::")[1], function)


def install(trt: types.ModuleType) -> None:
    """Give the stand-in what a release with ahead-of-time plugins has beside the oldest."""
    module = types.ModuleType("tensorrt.plugin")
    for made in (TensorDesc, KernelLaunchParams, SymIntExprs, register, aot_impl):
        setattr(module, made.__name__, made)
    sys.modules["tensorrt.plugin"] = module
    trt.get_plugin_registry = lambda: REGISTRY
    flags = {"STRONGLY_TYPED": 1, "PREFER_AOT_PYTHON_PLUGINS": 4}
    trt.NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", flags)


def built(model: bytes, half: object) -> tuple[str, bytes]:
    """The form that a network is built in (tuned, small, native or reference), and a model that runs."""
    parsed = onnx.load_from_string(model)
    custom = {node.op_type for node in parsed.graph.node if node.domain == DOMAIN}
    taken = {name for name in custom if REGISTRY.get_creator(name, "1", DOMAIN) is not None}
    if not taken:
        inside = {node.op_type for body in parsed.functions for node in body.node}
        return "native" if "Attention" in inside else "reference", model
    assert taken == custom
    if not parsed.functions:
        parsed.functions.extend(onnx.load(os.environ["TENSORRT_STAND_IN_BODIES"]).functions)
    shared = []
    for node in custom_nodes(parsed):
        descriptions = [TensorDesc(shape, half) for shape in node.shapes]
        values = [np.array([node.attributes[name]]) for name in OPERATORS[node.operator].attributes]
        _entry, _code, launch, _extra = IMPLEMENTATIONS[node.operator](*descriptions, *values, (), 0)
        shared.append(launch.shared_mem)
    return "tuned" if max(shared) > FREE_SHARED_MEMORY else "small", parsed.SerializeToString()
