"""The ahead-of-time plugins through NVIDIA's own tensorrt.plugin, from 10.9 on: what comes out, as JSON.

python aot_answers.py BUNDLE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import tensorrt_bindings as trt
from plugin_nodes import ATTRIBUTES, INPUTS, OUTPUTS

sys.modules["tensorrt"] = trt

from danet_runtime.bundle import Bundle  # noqa: E402
from danet_runtime.errors import DanetError  # noqa: E402
from danet_runtime.tensorrt.plugins.registration import register_for_running, register_plugins  # noqa: E402

HALF, FLOAT, LINEAR = trt.DataType.HALF, trt.DataType.FLOAT, trt.TensorFormat.LINEAR
LAUNCH = ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "shared_mem")


KEPT: list[object] = []


class Registry:
    """Stands in for TensorRT's own, which is in the library and not in the bindings."""

    def __init__(self) -> None:
        self.creators: dict[tuple[str, str, str], object] = {}

    def register_creator(self, creator: object, plugin_namespace: str = "") -> bool:
        key = (creator.name, creator.plugin_version, plugin_namespace)
        return self.creators.setdefault(key, creator) is creator

    def get_creator(self, name: str, version: str, plugin_namespace: str = "") -> object:
        return next(made for key, made in self.creators.items() if key[1:] == (version, plugin_namespace))


class Constants:
    """Stands in for the expression builder: remembers the constants that it is asked for."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def constant(self, value: int) -> None:
        self.values.append(value)


class Setter:
    """Stands in for what receives a kernel's extra arguments, and for what receives its launch parameters."""

    nbSymExprs = -1  # noqa: N815 - TensorRT's own name


def described(shape: tuple[int, ...], dtype: object) -> object:
    wrapped = trt.DynamicPluginTensorDesc()
    description = trt.PluginTensorDesc()
    description.dims, description.type, description.format = trt.Dims(shape), dtype, LINEAR
    wrapped.desc = description
    return wrapped


def fields(name: str, number: type, kind: object) -> object:
    made = [trt.PluginField(key, np.array([value], number), kind) for key, value in ATTRIBUTES[name].items()]
    KEPT.extend(made)  # a collection holds bare pointers into its fields
    return trt.PluginFieldCollection(made)


def node(creator: object, name: str, collection: object) -> object:
    request = trt.QuickPluginCreationRequest.PREFER_AOT
    return creator.create_plugin(name, "danet", collection, trt.TensorRTPhase.BUILD, request)


def launched(plugin: object, name: str, shapes: list[tuple[int, ...]], dtype: object) -> dict[str, object]:
    """What TensorRT learns of a node, in the order in which it asks."""
    constants = Constants()
    output_type = plugin.get_output_data_types([dtype] * len(shapes), [4] * len(shapes))[0]
    dims = plugin.get_output_shapes([trt.DimsExprs(4) for _ in shapes], [], constants)
    output_constants = list(constants.values)
    tensors = [described(shape, dtype) for shape in shapes]
    in_out = [*tensors, described(OUTPUTS[name], output_type)]
    combination = plugin.get_supported_format_combinations(in_out, len(shapes))
    plugin.configure_plugin(in_out[:-1], in_out[-1:])
    plugin.set_tactic(0)
    launch, extra = Setter(), Setter()
    plugin.get_launch_params(
        [trt.DimsExprs(4) for _ in shapes], in_out, len(shapes), launch, extra, constants
    )
    entry, ptx = plugin.get_kernel([item.desc for item in in_out[:-1]], [in_out[-1].desc])
    return {
        "identity": [plugin.plugin_name, plugin.plugin_namespace, plugin.plugin_version, plugin.num_outputs],
        "output_type": output_type.name,
        "output_rank": len(dims[0]),
        "output_constants": output_constants,
        "types": [item.type.name for item in combination],
        "layouts": sorted({item.format.name for item in combination}),
        "tactics": plugin.get_valid_tactics(),
        "launch": constants.values[-len(LAUNCH) :],
        "launch_set": sorted(key for key in vars(launch)),
        "extra_arguments": extra.nbSymExprs,
        "entry": entry,
        "ptx": ptx.decode(),
    }


def refusal(plugin: object, name: str, shapes: list[tuple[int, ...]], dtype: object) -> str | None:
    try:
        launched(plugin, name, shapes, dtype)
    except DanetError as error:
        return str(error)
    return None


def main(bundle: Path, other: Path) -> None:
    registry = Registry()
    trt.get_plugin_registry = lambda: registry
    registration = register_plugins(trt, Bundle.open(bundle), "sm_87", driver_cuda=(13, 0))
    by_name = dict(
        zip(("PositionAttention", "ChannelEnergy", "UpsampleArgmax"), registry.creators.values(), strict=True)
    )
    preference = trt.NetworkDefinitionCreationFlag.PREFER_AOT_PYTHON_PLUGINS
    kinds = trt.PluginFieldType
    result = {
        "route": registration.route,
        "flags": registration.network_flags,
        "prefers_ahead_of_time": bool(registration.network_flags >> int(preference) & 1),
        "strongly_typed_flag": 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED),
        "namespaces": sorted({key[2] for key in registry.creators}),
        "field_names": {name: [f.name for f in made.field_names] for name, made in by_name.items()},
        "plugins": {
            name: [
                launched(node(made, name, fields(name, number, kind)), name, INPUTS[name], HALF)
                for number, kind in ((np.int64, kinds.INT64), (np.int32, kinds.INT32))
            ]
            for name, made in by_name.items()
        },
    }

    def fresh(name: str) -> object:
        return node(by_name[name], name, fields(name, np.int64, kinds.INT64))

    wider = [(*shape[:3], 9) for shape in INPUTS["PositionAttention"]]
    result["refused_shapes"] = refusal(fresh("PositionAttention"), "PositionAttention", wider, HALF)
    result["refused_type"] = refusal(
        fresh("UpsampleArgmax"), "UpsampleArgmax", INPUTS["UpsampleArgmax"], FLOAT
    )
    result["failures"] = registration.failures
    # A second bundle in the same process: its kernels take the place of the first one's.
    register_plugins(trt, Bundle.open(other), "sm_87", variant="small")
    again = launched(fresh("UpsampleArgmax"), "UpsampleArgmax", INPUTS["UpsampleArgmax"], HALF)
    result["exchanged"] = again["launch"]
    result["for_running"] = register_for_running(trt).route
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
