"""Masks as they are written, read as labels."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import cv2
import numpy as np

_PALETTE_TYPE = 3


def labels_in(file: Path) -> np.ndarray:
    """(H, W) uint8 of a mask, whether it has a palette or not; OpenCV gives a palette's colors.

    Pixels with a palette are stored as grey ones are: without the palette OpenCV reads the labels.
    """
    data = file.read_bytes()
    if data[25] == _PALETTE_TYPE:
        header = data[12:25] + b"\0" + data[26:29]
        rest = re.sub(rb"\x00\x00\x03\x00PLTE.{772}", b"", data[33:], count=1, flags=re.DOTALL)
        data = data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + rest
    labels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert labels is not None, f"{file} is no whole picture"
    assert labels.ndim == 2
    return labels
