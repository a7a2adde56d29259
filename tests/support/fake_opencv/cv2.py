"""Stands for OpenCV in a process that reads a camera: a device that gives, changes, hangs or is not there.

``DANET_FAKE_CAMERA`` holds JSON: ``code`` (what the device calls its format), ``sizes`` (height and width of
each frame, the last again and again where ``endless``), ``hangs`` (``opening`` or ``reading``), ``unwritten``
(so many rows at the bottom of a frame are left as they are, and it is called a frame all the same).
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

__version__ = "fake"
CAP_ANY, CAP_V4L2 = 0, 200
CAP_PROP_FRAME_WIDTH, CAP_PROP_FRAME_HEIGHT = 3, 4
CAP_PROP_POS_MSEC, CAP_PROP_FPS, CAP_PROP_FRAME_COUNT, CAP_PROP_FOURCC, CAP_PROP_CONVERT_RGB = 0, 5, 7, 6, 16


class error(Exception):  # noqa: N801, N818 - OpenCV's name
    """No device raises it here."""


def VideoWriter_fourcc(*letters: str) -> int:  # noqa: N802 - OpenCV's name
    return int.from_bytes("".join(letters).encode(), "little")


def raw_frame(code: str, size_hw: tuple[int, int], number: int) -> np.ndarray:
    """The bytes of a frame as the device has them."""
    height, width = size_hw
    shape = {"NV12": (height * 3 // 2, width), "UYVY": (height, width, 2), "YUYV": (height, width, 2)}
    return np.random.default_rng(number).integers(0, 256, shape.get(code, (1, 500)), np.uint8)


class VideoCapture:
    def __init__(self, *_target: object) -> None:
        self.plan = json.loads(os.environ["DANET_FAKE_CAMERA"])
        self.converts = True
        self.number = -1
        if self.plan.get("hangs") == "opening":
            time.sleep(1000)

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def getBackendName(self) -> str:  # noqa: N802 - OpenCV's name
        return "FAKE"

    def set(self, key: int, value: float) -> bool:
        if key == CAP_PROP_CONVERT_RGB:
            self.converts = bool(value)
        return True

    def get(self, key: int) -> float:
        if key == CAP_PROP_FOURCC:
            return float(VideoWriter_fourcc(*self.plan.get("code", "MJPG")))
        if key == CAP_PROP_POS_MSEC and self.plan.get("has_time"):
            return time.monotonic() * 1e3 - 5
        return float("nan")

    def grab(self) -> bool:
        sizes = self.plan["sizes"]
        if self.number + 1 >= len(sizes):
            if self.plan.get("hangs") == "reading":
                time.sleep(1000)
            if not self.plan.get("endless"):
                return False
            time.sleep(0.02)
        self.number += 1
        return True

    def frame(self) -> np.ndarray:
        size = tuple(self.plan["sizes"][min(self.number, len(self.plan["sizes"]) - 1)])
        if self.converts:
            return np.full((*size, 3), self.number % 250, np.uint8)
        return raw_frame(self.plan["code"], size, 0)

    def read(self) -> tuple[bool, np.ndarray | None]:
        return (True, self.frame()) if self.grab() else (False, None)

    def retrieve(self, buffer: np.ndarray) -> tuple[bool, np.ndarray]:
        frame = self.frame()
        if frame.shape != buffer.shape:
            return True, frame
        rows = len(frame) - self.plan.get("unwritten", 0)
        buffer[:rows] = frame[:rows]
        return True, buffer

    def release(self) -> None:
        pass


if __name__ == "cv2" and "danet_runtime.sources.live.camera_child" not in sys.orig_argv:
    # All other processes have the real one, and hand their path on to their children.
    _paths = list(sys.path)
    sys.path[:] = [place for place in sys.path if Path(place) != Path(__file__).parent]
    del sys.modules["cv2"]
    sys.modules["cv2"] = importlib.import_module("cv2")
    sys.path[:] = _paths
