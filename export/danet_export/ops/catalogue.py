"""The code of each operator, found by the operator's name, and what every such module offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt
import onnx

from danet_runtime.bundle.operators import OPERATORS, Operator, Sizes

POSITIONS: Final = (6, 9)
"""Height and width of an example's inputs: few, since a reference stores every map."""

LARGE_ENERGY: Final = 1.5e5
"""What an example's energies reach: beyond FP16's 65504."""

Inputs = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Example:
    """Drawn inputs of one node, and its true result.

    Attributes:
        inputs: In the operator's order.
        attributes: The node's, fitted to the few positions.
        expected: Computes the result in float64.
    """

    inputs: Inputs
    attributes: Mapping[str, Any]
    expected: Callable[[], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Drawing:
    """How an example is drawn.

    Attributes:
        dtype: Of the inputs.
        random: Whose next numbers are taken.
    """

    dtype: npt.DTypeLike
    random: np.random.Generator

    def normal(self, channels: int, deviation: float) -> npt.NDArray[Any]:
        """(1, channels, *POSITIONS)."""
        values = deviation * self.random.standard_normal((1, channels, *POSITIONS))
        return np.asarray(values, self.dtype)


class OperatorCode(Protocol):
    """A module ``danet_export.ops.NAME``, beside its PyTorch operator ``torch.ops.danet.NAME``."""

    def body(self, attributes: Mapping[str, Any]) -> onnx.FunctionProto:
        """The function of standard operators that everything without a plugin runs.

        Args:
            attributes: Of the node, those that a function cannot read by itself.
        """

    def native_body(self, sizes: Sizes) -> onnx.FunctionProto:
        """The same of operators that TensorRT fuses by itself, for nodes of these sizes alone."""

    def reference(self, inputs: Mapping[str, npt.ArrayLike], attributes: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """The result in NumPy float64, as literally as the paper has it."""

    def example(self, channels: Sequence[int], attributes: Mapping[str, Any], drawing: Drawing) -> Example:
        """A case for a node whose inputs have so many channels."""


def code_of(operator: Operator) -> OperatorCode:
    """The module of one operator."""
    return cast("OperatorCode", import_module(f"danet_export.ops.{OPERATORS[operator].stem}"))
