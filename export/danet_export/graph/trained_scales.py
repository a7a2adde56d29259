"""Locates the tensors with trained quantisation scales in the exported model."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from danet_export.errors import ExportError
from danet_train.model.backbones.reads import Reader
from danet_train.model.danet import DANet
from danet_train.quantisation.activations import quantised_activations
from danet_train.quantisation.trained_scales import TrainedScale

_PREFIX = "network."
"""Prefix of the weights' names in the file; the rest is the name in the state dict."""


def locate_scales(model: onnx.ModelProto, network: DANet, scales: Mapping[str, float]) -> list[TrainedScale]:
    """Return the scale of every quantised activation input of the exported model.

    A convolution is found by the name of its weight, other nodes by their place between convolutions.

    Args:
        model: Result of ``to_onnx`` for ``network``.
        network: The exported network.
        scales: Scale of each of its quantised activations, by name.

    Raises:
        ExportError: The model lacks a node that ``network`` has.
    """
    graph = _Graph(model.graph)
    located = []
    for activation in quantised_activations(network):
        for reader in activation.readers:
            node, position = graph.input_of(reader, network)
            scale = scales[activation.name]
            located.append(
                TrainedScale(node=node, position=position, scale=scale, activation=activation.name)
            )
    return located


class _Graph:
    """Finds nodes by the names of the network's modules."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._nodes: list[onnx.NodeProto] = list(graph.node)
        self._convolutions: dict[str, onnx.NodeProto] = {
            node.input[1].removeprefix(_PREFIX).removesuffix(".weight"): node
            for node in self._nodes
            if node.op_type == "Conv"
        }

    def input_of(self, reader: Reader, network: DANet) -> tuple[str, int]:
        """Return the node's name and the position of the input by which ``reader`` reads its tensor."""
        if reader.kind == "convolution":
            return self._convolution(reader.module).name, 0
        if reader.kind == "pooling":
            pools = [node for node in self._nodes if node.op_type == "MaxPool"]
            if len(pools) != 1:
                raise ExportError(f"expected one MaxPool in the exported model, found {len(pools)}")
            return pools[0].name, 0
        if reader.kind == "shortcut":
            last = "conv3" if hasattr(network.get_submodule(reader.module), "conv3") else "conv2"
            inner = self._convolution(f"{reader.module}.{last}").output[0]
            total = self._only_reader(inner, "Add")
            return total.name, 1 - list(total.input).index(inner)
        behind = self._only_reader(self._convolution(f"{reader.module}.conv").output[0], "Relu").output[0]
        total = self._only_reader(behind, "Add")
        return total.name, list(total.input).index(behind)

    def _convolution(self, module: str) -> onnx.NodeProto:
        try:
            return self._convolutions[module]
        except KeyError:
            raise ExportError(
                f"the exported model has no convolution with the weight {_PREFIX}{module}.weight, for whose "
                "input the checkpoint has a trained scale"
            ) from None

    def _only_reader(self, tensor: str, op_type: str) -> onnx.NodeProto:
        found = [node for node in self._nodes if tensor in node.input]
        if len(found) != 1 or found[0].op_type != op_type:
            raise ExportError(
                f"expected one {op_type} to read {tensor} in the exported model, found "
                f"{[node.op_type for node in found]}"
            )
        return found[0]
