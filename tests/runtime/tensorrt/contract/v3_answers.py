"""The IPluginV3 plugins over the bindings of TensorRT 10.0 to 10.8: what they answer, as JSON.

python v3_answers.py BUNDLE
"""

from __future__ import annotations

import gc
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

HALF, FLOAT = trt.DataType.HALF, trt.DataType.FLOAT


KEPT: list[object] = []


class Registry:
    """Stands in for TensorRT's own, which is in the library and not in the bindings."""

    def __init__(self) -> None:
        self.creators: dict[tuple[str, str, str], object] = {}

    def register_creator(self, creator: object, plugin_namespace: str = "") -> bool:
        key = (creator.name, creator.plugin_version, plugin_namespace)
        return self.creators.setdefault(key, creator) is creator


class Constants:
    """Stands in for the expression builder: remembers the constants that it is asked for."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def constant(self, value: int) -> None:
        self.values.append(value)


def described(shape: tuple[int, ...], dtype: object, layout: object = trt.TensorFormat.LINEAR) -> object:
    description = trt.PluginTensorDesc()
    description.dims, description.type, description.format = trt.Dims(shape), dtype, layout
    return description


def dynamic(description: object) -> object:
    wrapped = trt.DynamicPluginTensorDesc()
    wrapped.desc = description
    return wrapped


def refusal(call: object, *arguments: object) -> str | None:
    try:
        call(*arguments)
    except DanetError as error:
        return str(error)
    return None


def fields(name: str) -> object:
    """The fields as the parser makes them of a node's attributes: it takes INT to be 32 bits wide."""
    made = [
        trt.PluginField(key, np.array([value], np.int32), trt.PluginFieldType.INT32)
        for key, value in ATTRIBUTES[name].items()
    ]
    KEPT.extend(made)  # a collection holds bare pointers into its fields
    return trt.PluginFieldCollection(made)


def answers(creator: object, name: str) -> dict[str, object]:
    plugin = creator.create_plugin("node", fields(name), trt.TensorRTPhase.BUILD)
    shapes = INPUTS[name]
    inputs = [described(shape, HALF) for shape in shapes]
    output_type = plugin.get_output_data_types([HALF] * len(shapes))[0]
    output = described(OUTPUTS[name], output_type)
    in_out = [dynamic(item) for item in [*inputs, output]]
    constants = Constants()
    dims = plugin.get_output_shapes([trt.DimsExprs(4) for _ in shapes], [], constants)
    wrong_type = [dynamic(described(shape, FLOAT)) for shape in shapes] + in_out[-1:]
    wrong_layout = [dynamic(described(shapes[0], HALF, trt.TensorFormat.CHW32)), *in_out[1:]]
    wider = [described((*shape[:3], 9), HALF) for shape in shapes]
    plugin.configure_plugin(in_out[:-1], in_out[-1:])
    serialised = plugin.get_fields_to_serialize()
    again = creator.create_plugin("node", serialised, trt.TensorRTPhase.RUNTIME)
    attached = again.attach_to_context(None)
    attached.on_shape_change(inputs, [output])
    addresses = list(range(4096, 4096 + len(inputs)))
    attached.enqueue(inputs, [output], addresses, [9000], 0, 77)
    return {
        "identity": [plugin.plugin_name, plugin.plugin_namespace, plugin.plugin_version, plugin.num_outputs],
        "is_itself": plugin.get_capability_interface(trt.PluginCapabilityType.CORE) is plugin,
        "workspace_bytes": plugin.get_workspace_size(in_out[:-1], in_out[-1:]),
        "output_type": output_type.name,
        "output_rank": len(dims[0]),
        "constants": constants.values,
        "supports": [plugin.supports_format_combination(i, in_out, len(inputs)) for i in range(len(in_out))],
        "supports_wrong_type": plugin.supports_format_combination(0, wrong_type, len(inputs)),
        "supports_wrong_layout": plugin.supports_format_combination(0, wrong_layout, len(inputs)),
        "refused_shapes": refusal(plugin.configure_plugin, [dynamic(item) for item in wider], in_out[-1:]),
        "refused_at_run": refusal(attached.on_shape_change, wider, [output]),
        "early_enqueue": refusal(plugin.enqueue, [], [], [], [], 0, 0),
        "fields": {field.name: str(field.type).rpartition(".")[2] for field in serialised},
        "same_state": again._state == plugin._state,
        "clones_are_new": plugin.clone() is not plugin and attached is not again,
        "clones_share": plugin.clone()._state is plugin._state,
    }


def main(bundle: Path) -> None:
    registry = Registry()
    trt.get_plugin_registry = lambda: registry
    try:
        registration = register_plugins(trt, Bundle.open(bundle), "sm_87", driver_cuda=(12, 6))
    except DanetError as error:
        print(json.dumps({"refused": str(error)}))
        return
    result = {
        "route": registration.route,
        "strongly_typed": registration.network_flags
        == 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED),
        "creators": sorted(registry.creators),
        "field_names": {
            key[0]: [f.name for f in made.field_names] for key, made in registry.creators.items()
        },
        "plugins": {key[0]: answers(made, key[0]) for key, made in registry.creators.items()},
    }
    creator = registry.creators["UpsampleArgmax", "1", "danet"]
    damaged = [
        field
        for field in creator.create_plugin(
            "n", fields("UpsampleArgmax"), trt.TensorRTPhase.BUILD
        ).get_fields_to_serialize()
        if field.name != "danet_ptx"
    ]
    other = trt.PluginField("danet_ptx", np.frombuffer(b"other code", np.int8), trt.PluginFieldType.CHAR)
    runtime = trt.TensorRTPhase.RUNTIME
    result["lacking"] = refusal(creator.create_plugin, "n", trt.PluginFieldCollection(damaged), runtime)
    result["damaged"] = refusal(
        creator.create_plugin, "n", trt.PluginFieldCollection([*damaged, other]), runtime
    )
    result["failures"] = registration.failures
    result["for_running"] = register_for_running(trt).route
    result["creators_after"] = len(registry.creators)
    build = trt.TensorRTPhase.BUILD
    result["build_without_bundle"] = refusal(creator.create_plugin, "n", fields("UpsampleArgmax"), build)
    register_plugins(trt, Bundle.open(bundle), "sm_87")
    plugin = creator.create_plugin("n", fields("UpsampleArgmax"), trt.TensorRTPhase.BUILD)
    register_plugins(trt, Bundle.open(bundle), "sm_87", variant="small")
    exchanged = creator.create_plugin("n", fields("UpsampleArgmax"), trt.TensorRTPhase.BUILD)
    result["exchanged"] = exchanged._state.loaded.kernel.variant
    for _ in range(1000):  # these bindings abort when a Python plugin is deallocated, now or at the end
        plugin.clone()
    gc.collect()
    print(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
