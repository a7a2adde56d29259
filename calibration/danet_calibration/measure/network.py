"""Runs a model file in ONNX Runtime for its labels and its logits, where labels alone are too coarse."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import onnx

from danet_calibration.errors import CalibrationError
from danet_runtime.backends.onnxruntime_session import open_session
from danet_runtime.bundle.operators import Operator
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_pixel_format
from danet_runtime.frames.pixel_formats import BGR, Pixels

FloatArray = npt.NDArray[np.float32]

LABELS_FROM: Final[Operator] = "UpsampleArgmax"
"""The operator whose input is the logits."""


class Network:
    """One model file with its logits as a second output.

    Args:
        model: A model file of a bundle.
        pixels: Pixel format of the model's input, the manifest's ``frame.pixels``.

    Raises:
        CalibrationError: The model has no node ``UpsampleArgmax``, whose input the logits are.
    """

    def __init__(self, model: onnx.ModelProto, pixels: Pixels = BGR) -> None:
        logits = next((n.input[0] for n in model.graph.node if n.op_type == LABELS_FROM), None)
        if logits is None:
            raise CalibrationError(f"the model has no node {LABELS_FROM}; export the bundle again")
        types = {
            value.name: value.type.tensor_type.elem_type
            for value in onnx.shape_inference.infer_shapes(model).graph.value_info
        }
        exposed = onnx.ModelProto()
        exposed.CopyFrom(model)
        exposed.graph.output.append(onnx.helper.make_tensor_value_info(logits, types[logits], None))
        self._session: Any = open_session(exposed.SerializeToString())
        self._pixels = pixels
        self._size_hw: tuple[int, int] = tuple(self._session.get_outputs()[0].shape[1:3])
        self._outputs = ["labels", logits]

    def __call__(self, frame: UInt8Array) -> tuple[UInt8Array, FloatArray]:
        """Segment one frame.

        Args:
            frame: (H, W, 3) BGR of any size; resized as a segmenter does.

        Returns:
            Labels (H, W) of the model's frame size, and logits (C, h, w) as the classifier gives them.
        """
        if frame.shape[:2] != self._size_hw:
            resized = cv2.resize(frame, self._size_hw[::-1], interpolation=cv2.INTER_LINEAR)
            frame = np.asarray(resized, np.uint8)
        given = to_pixel_format(frame, self._pixels)
        labels, logits = self._session.run(self._outputs, {"frame": given[None]})
        return labels[0], logits[0].astype(np.float32)
