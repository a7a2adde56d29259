"""Finds the code of an operator by its name, and defines what every such module offers."""

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
"""Height and width of an example's inputs: small, because a reference stores every map."""

LARGE_ENERGY: Final = 1.5e5
"""Magnitude that an example's energies reach: beyond FP16's 65504."""

Inputs = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Example:
    """Random inputs of one node, and its exact result.

    Attributes:
        inputs: Inputs in the operator's order.
        attributes: Attributes of the node, fitted to the few positions.
        expected: Computes the result in float64.
    """

    inputs: Inputs
    attributes: Mapping[str, Any]
    expected: Callable[[], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Drawing:
    """Random numbers for an example.

    Attributes:
        dtype: Type of the inputs.
        random: Source of the numbers.
    """

    dtype: npt.DTypeLike
    random: np.random.Generator

    def normal(self, channels: int, deviation: float) -> npt.NDArray[Any]:
        """Draw normal values of shape (1, channels, *POSITIONS)."""
        values = deviation * self.random.standard_normal((1, channels, *POSITIONS))
        return np.asarray(values, self.dtype)


class OperatorCode(Protocol):
    """A module ``danet_export.ops.NAME``, beside its PyTorch operator ``torch.ops.danet.NAME``."""

    def body(self, attributes: Mapping[str, Any]) -> onnx.FunctionProto:
        """Return the function of standard operators that every backend without a plugin runs.

        Args:
            attributes: Attributes of the node and the sizes of its kernel, which a function cannot read by
                itself.
        """

    def native_body(self, sizes: Sizes) -> onnx.FunctionProto:
        """Return a function of operators that TensorRT fuses by itself, for nodes of these sizes alone."""

    def reference(self, inputs: Mapping[str, npt.ArrayLike], attributes: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Compute the result in NumPy float64, as literally as the paper has it."""

    def example(self, channels: Sequence[int], attributes: Mapping[str, Any], drawing: Drawing) -> Example:
        """Return an example for a node whose inputs have these numbers of channels."""


def code_of(operator: Operator) -> OperatorCode:
    """Return the module of one operator."""
    return cast("OperatorCode", import_module(f"danet_export.ops.{OPERATORS[operator].stem}"))
