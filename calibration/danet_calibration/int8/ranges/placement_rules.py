"""Placement of INT8: NVIDIA's modelopt decides which inputs are quantised, as TensorRT wants it.

modelopt removes model-local functions. So it gets the FP32 model with the attention nodes inlined and
excluded by name, and its decision is read from its result: the quantised inputs of each node that exists in
the bundle's own model too. The decision depends on the graph alone and the weights' scales
on the weights alone, so one frame serves; the activations' scales come from
:mod:`danet_calibration.int8.ranges.ranges`.
"""

from __future__ import annotations

import logging
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
from onnx import inliner, numpy_helper
from onnxruntime.quantization import CalibrationDataReader

from danet_calibration.errors import CalibrationError, CalibrationSetError
from danet_runtime.frames.arrays import UInt8Array

_INLINED = "inlined_"
_APPLICATION = "channel_attention_"
"""Prefix of the names of the standard nodes that apply the channel attention: like the custom nodes' bodies,
a softmax and a product that stay in floating point."""

_CONVERSIONS = ("color_conversion_", "colour_conversion_")  # the second in bundles of version 0.1
"""Prefixes of the names of the nodes that turn a camera's luma and chroma into BGR by exact arithmetic."""

_EXCLUDED = (_INLINED, _APPLICATION, *_CONVERSIONS)

_QDQ = ("QuantizeLinear", "DequantizeLinear")


class Frames(Protocol):
    """Gives a model's inputs, one frame at a time.

    :class:`danet_calibration.images.images.FrameReader` is one.
    """

    def get_next(self) -> dict[str, UInt8Array] | None:
        """Return the next frame by the name of the model's input, or None after the last."""

    def rewind(self) -> None:
        """Start again at the first frame."""


@dataclass(frozen=True)
class PlacedInput:
    """One input of one node that is to run on INT8 values.

    Attributes:
        node: Name of the node.
        position: Position of the input among the node's inputs.
        tensor: Name of the tensor whose values decide the scale: the input itself, or, for the output of a
            MaxPool, the pool's input. A pool only chooses among its values; with one scale on both sides it
            is INT8.
        weight_scale: (C,), one scale per channel of axis 0; None for an activation.
    """

    node: str
    position: int
    tensor: str
    weight_scale: npt.NDArray[np.float32] | None

    @property
    def is_weight(self) -> bool:
        """Whether the input is a constant of the model."""
        return self.weight_scale is not None


def find_placement(model: bytes, frames: Frames) -> list[PlacedInput]:
    """Let modelopt choose what is quantised, and find the scales of the weights.

    Args:
        model: The bundle's FP32 file.
        frames: Calibration frames; only the first is read, and they are rewound afterwards.

    Raises:
        CalibrationError: modelopt failed, there is no frame, or the model holds Q/DQ already.
    """
    inlined = inline(model)
    frames.rewind()
    first = frames.get_next()
    frames.rewind()
    if first is None:
        raise CalibrationError("expected at least one calibration frame, got none")
    return _read_placement(inlined, _run_modelopt(inlined, _OneFrame(first)))


def inline(model: bytes) -> onnx.ModelProto:
    """Return the model with its functions inlined; outside them the names of nodes and tensors are kept.

    Raises:
        CalibrationError: The model holds Q/DQ already.
    """
    loaded = onnx.load_from_string(model)
    if any(node.op_type in _QDQ for node in loaded.graph.node):
        raise CalibrationError(
            "the model holds Q/DQ nodes already; calibrate the bundle that `danet export` wrote"
        )
    names = {node.name for node in loaded.graph.node}
    inlined: onnx.ModelProto = inliner.inline_local_functions(loaded)
    for index, node in enumerate(inlined.graph.node):
        # modelopt excludes by regular expression: an empty name would make an empty one, which matches all.
        if node.name not in names or not node.name:
            node.name = f"{_INLINED}{index}_{node.op_type}"
    return inlined


class _OneFrame(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, frame: dict[str, UInt8Array]) -> None:
        self._frame = frame
        self.rewind()

    def get_next(self) -> dict[str, UInt8Array] | None:
        return next(self._left, None)

    def get_first(self) -> dict[str, UInt8Array]:
        return self._frame

    def rewind(self) -> None:
        self._left = iter([self._frame])


def _run_modelopt(
    model: onnx.ModelProto, frames: CalibrationDataReader, method: str = "max"
) -> onnx.ModelProto:
    quantize = _load_modelopt()
    excluded = [f"^{re.escape(node.name)}$" for node in model.graph.node if node.name.startswith(_EXCLUDED)]
    with tempfile.TemporaryDirectory(prefix="danet-calibration-") as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "quantised.onnx"
        onnx.save(model, source)
        try:
            quantize(
                str(source),
                quantize_mode="int8",
                calibration_data_reader=frames,
                calibration_method=method,
                calibration_eps=["cpu"],
                nodes_to_exclude=excluded,
                high_precision_dtype="fp32",
                output_path=str(target),
                log_level="CRITICAL",
            )
        except CalibrationSetError:
            raise  # a frame that is gone is not modelopt's failure
        except Exception as error:
            raise CalibrationError(f"modelopt could not quantise the model: {error}") from error
        if not target.is_file():
            raise CalibrationError("modelopt wrote no model, and said nothing")
        return onnx.load(target)


def _load_modelopt() -> Any:  # noqa: ANN401 - a function without types
    # modelopt logs to standard output from its import on, and misses a GPU that it does not need here.
    logging.getLogger("modelopt.onnx").setLevel(logging.CRITICAL)
    from modelopt.onnx.quantization import quantize

    return quantize


def _read_placement(inlined: onnx.ModelProto, quantised: onnx.ModelProto) -> list[PlacedInput]:
    constants = {tensor.name: tensor for tensor in quantised.graph.initializer}
    scales = {
        node.output[0]: numpy_helper.to_array(constants[node.input[1]]).astype(np.float32)
        for node in quantised.graph.node
        if node.op_type == "DequantizeLinear"
    }
    weights = {tensor.name for tensor in inlined.graph.initializer}
    originals = {node.name: node for node in inlined.graph.node}
    chosen = [
        (node.name, position, originals[node.name].input[position], scales[name])
        for node in quantised.graph.node
        if node.op_type not in _QDQ and not node.name.startswith(_EXCLUDED)
        for position, name in enumerate(node.input)
        if name in scales
    ]
    activations = {tensor for _, _, tensor, _ in chosen if tensor not in weights}
    pooled = {
        node.output[0]: node.input[0]
        for node in inlined.graph.node
        if node.op_type == "MaxPool" and node.input[0] in activations
    }
    return [
        PlacedInput(node, position, pooled.get(tensor, tensor), scale if tensor in weights else None)
        for node, position, tensor, scale in chosen
    ]
