"""Frames to compare models on: the user's own, or a drawn pattern where there are none."""

from __future__ import annotations

import cv2
import numpy as np

from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.sources import open_source


def load_frames(source: str, size_hw: tuple[int, int], count: int) -> list[UInt8Array]:
    """Return the first ``count`` frames of a video, a picture, a folder or a glob, resized to ``size_hw``.

    Returns:
        (H, W, 3) BGR each, at least one.

    Raises:
        SourceError: Nothing can be read there.
        UsageError: ``source`` names nothing that can be opened.
    """
    frames: list[UInt8Array] = []
    reader = open_source(source)
    try:
        buffer = np.empty((*reader.size_hw, 3), np.uint8)
        while len(frames) < count and reader.read_into(buffer) is not None:
            frames.append(cv2.resize(buffer, size_hw[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8))
    finally:
        reader.close()
    return frames


def pattern(size_hw: tuple[int, int], seed: int) -> UInt8Array:
    """Draw a frame with smooth gradients, hard edges and noise, the same for the same seed.

    Args:
        size_hw: Height and width.
        seed: Seed of the random boxes and noise.

    Returns:
        (H, W, 3) BGR.
    """
    random = np.random.default_rng(seed)
    height, width = size_hw
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([255 * y / height, 255 * x / width, 255 * (1 - y / height)], axis=-1)
    for _ in range(24):
        top, left = random.integers(0, height), random.integers(0, width)
        bottom, right = top + random.integers(1, height // 2 + 2), left + random.integers(1, width // 3 + 2)
        image[top:bottom, left:right] = random.uniform(0, 255, 3)
    return np.clip(image + random.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
