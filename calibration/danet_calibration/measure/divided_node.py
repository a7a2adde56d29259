"""Runs a custom node on a part of its positions at a time, where the whole N x N map is too large to hold.

Each part runs the nodes of the operator's own function body. So this module does not repeat what the operator
computes, and the measured tensors have the same names as over the whole map. The contract says which inputs
may be cut (``OperatorSpec.divisible``); tensors that depend on none of them are computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx

from danet_calibration.measure.network import FloatArray
from danet_runtime.bundle.operators import OperatorSpec

PART_VALUES: Final = 2**22
"""Number of the map's values that are held at once: 16 MiB in FP32, 128 of 32768 rows at 1024x2048."""

Values = dict[str, npt.NDArray[Any]]

RunNode = Callable[[onnx.NodeProto, Mapping[str, npt.NDArray[Any]]], Iterable[npt.NDArray[Any]]]
"""Computes one node from values by name, and returns its outputs as stored."""


class DividedNode:
    """The nodes of one custom node's body, divided into those run once and those run for each part.

    Args:
        spec: The operator, with divisible inputs.
        inputs: Names of the custom node's inputs inside the body, in the operator's order.
        body: Nodes of the body, in order; the last one computes the custom node's output.
    """

    def __init__(self, spec: OperatorSpec, inputs: Sequence[str], body: Sequence[onnx.NodeProto]) -> None:
        self._inputs = inputs
        self._output = body[-1].output[0]
        self._cut = [
            name for name, formal in zip(inputs, spec.inputs, strict=True) if formal in spec.divisible
        ]
        reached = set(self._cut)
        self._once: list[onnx.NodeProto] = []
        self._parts: list[onnx.NodeProto] = []
        for node in body:
            if reached.intersection(node.input):
                reached.update(node.output)
                self._parts.append(node)
            else:
                self._once.append(node)

    def __call__(self, arrays: Sequence[FloatArray], run: RunNode) -> FloatArray:
        """Compute the custom node.

        Args:
            arrays: Inputs of the node, (1, C, h, w) each; those with more positions than the output are
                padded.
            run: Computes one node of the body.

        Returns:
            The output, of the shape of the last input that may be cut.
        """
        whole: Values = {
            name: array.reshape(*array.shape[:2], -1)
            for name, array in zip(self._inputs, arrays, strict=True)
        }
        shape = arrays[self._inputs.index(self._cut[-1])].shape
        tokens = math.prod(shape[2:])
        cut = {name: whole.pop(name)[:, :, :tokens] for name in self._cut}
        _run_all(self._once, whole, run)
        rows = max(1, PART_VALUES // tokens)
        results = []
        for start in range(0, tokens, rows):
            part = slice(start, start + rows)
            values = whole | {name: np.ascontiguousarray(array[:, :, part]) for name, array in cut.items()}
            _run_all(self._parts, values, run)
            results.append(values[self._output])
        return np.concatenate(results, axis=2).reshape(shape)


def _run_all(nodes: Iterable[onnx.NodeProto], values: Values, run: RunNode) -> None:
    for node in nodes:
        values.update(zip(node.output, run(node, values), strict=True))
