"""Scales and placement of the quantisation, found by NVIDIA's modelopt on the calibration images.

modelopt knows where TensorRT wants Q/DQ pairs, but drops model-local functions. So it is given the FP32 model
with the attention nodes inlined and excluded by name, and what it decided is read off its result: for each
node that exists in the bundle's own model too, which of its inputs are quantised, and with which scales.
"""

from __future__ import annotations

import logging
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import inliner, numpy_helper

from danet_calibration.errors import CalibrationError
from danet_calibration.images import FrameReader

CalibrationMethod = Literal["max", "entropy"]

_INLINED = "inlined_"
_APPLICATION = "channel_attention_"
"""Begins the names of the standard nodes that apply the channel attention: like the custom nodes' bodies, a
softmax and a product that stay in floating point."""

_EXCLUDED = (_INLINED, _APPLICATION)


@dataclass(frozen=True)
class QuantisedInput:
    """One input of one node that runs on INT8 values.

    Attributes:
        node: Name of the node.
        position: Which of its inputs.
        scale: () for a whole tensor, (C,) for one scale a channel of axis 0 (weights).
    """

    node: str
    position: int
    scale: npt.NDArray[np.float32]


def find_scales(model: bytes, frames: FrameReader, method: CalibrationMethod) -> list[QuantisedInput]:
    """Let modelopt quantise a model, and read off what it did.

    Args:
        model: The bundle's FP32 file.
        frames: The calibration frames.
        method: ``max`` takes the largest magnitude seen, ``entropy`` clips where that loses the least.

    Raises:
        CalibrationError: modelopt failed, or the model holds Q/DQ already.
    """
    inlined = _inline(model)
    excluded = [f"^{re.escape(node.name)}$" for node in inlined.graph.node if node.name.startswith(_EXCLUDED)]
    quantised = _run_modelopt(inlined, frames, method, excluded)
    return _read_placement(quantised)


def _inline(model: bytes) -> onnx.ModelProto:
    loaded = onnx.load_from_string(model)
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in loaded.graph.node):
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


def _run_modelopt(
    model: onnx.ModelProto, frames: FrameReader, method: CalibrationMethod, excluded: list[str]
) -> onnx.ModelProto:
    quantize = _load_modelopt()
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


def _read_placement(model: onnx.ModelProto) -> list[QuantisedInput]:
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    scales = {
        node.output[0]: numpy_helper.to_array(initializers[node.input[1]]).astype(np.float32)
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
    }
    return [
        QuantisedInput(node.name, position, scales[name])
        for node in model.graph.node
        if not node.name.startswith(_EXCLUDED) and node.op_type not in ("QuantizeLinear", "DequantizeLinear")
        for position, name in enumerate(node.input)
        if name in scales
    ]
