"""From a decoded frame to the pixels of a slot: upright, in BGR, as the file's own colors say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from danet_runtime.frames.arrays import UInt8Array

_ONE: Final = 1 << 16  # of the display matrix's fixed point
_TOLERANCE: Final = _ONE // 100
_FULL_RANGE: Final = 2  # AVCOL_RANGE_JPEG


@dataclass(frozen=True)
class Orientation:
    """How stored rows and columns are shown, by a display matrix (ISO 14496-12, 8.3.2).

    Attributes:
        is_transposed: Whether rows become columns, before the flips.
        flips_rows: Whether what is stored on top is shown below.
        flips_columns: Whether what is stored left is shown right.
    """

    is_transposed: bool = False
    flips_rows: bool = False
    flips_columns: bool = False

    @classmethod
    def of(cls, matrix: Any) -> Orientation | None:  # noqa: ANN401 - a buffer of PyAV
        """Read the nine numbers that FFmpeg gives out with a frame.

        Returns:
            ``None`` where the picture is turned by no multiple of 90 degrees.
        """
        a, b, _, c, d = (int(value) for value in np.frombuffer(matrix, np.int32)[:5])
        # A stored point (x, y) is shown at (a x + c y, b x + d y).
        if max(abs(b), abs(c)) <= _TOLERANCE and min(abs(a), abs(d)) > _TOLERANCE:
            return cls(False, d < 0, a < 0)
        if max(abs(a), abs(d)) <= _TOLERANCE and min(abs(b), abs(c)) > _TOLERANCE:
            return cls(True, b < 0, c < 0)
        return None

    @classmethod
    def by_degrees(cls, degrees: float) -> Orientation | None:
        """By what is left of a display matrix in a number: degrees anticlockwise, and no mirror."""
        turns = {0: cls(), 1: cls(True, True, False), 2: cls(False, True, True), 3: cls(True, False, True)}
        return turns[round(degrees / 90) % 4] if degrees % 90 == 0 else None

    def apply(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The picture as it is shown: a view of (H, W, ...)."""
        shown = stored.swapaxes(0, 1) if self.is_transposed else stored
        return shown[:: -1 if self.flips_rows else 1, :: -1 if self.flips_columns else 1]


def _orientation_of(frame: Any) -> Orientation | None:  # noqa: ANN401 - of PyAV
    """How a frame wants to be turned; ``None`` by no multiple of 90 degrees."""
    try:
        data = frame.side_data
    except ValueError:  # it carries something that this PyAV has no name for, as EXIF in Motion JPEG
        return Orientation.by_degrees(frame.rotation)
    matrix = data.get("DISPLAYMATRIX") if hasattr(data, "get") else None
    return Orientation() if matrix is None else Orientation.of(matrix)


class FrameWriter:
    """Writes frames of one size to buffers of their user.

    The matrix (BT.601, BT.709, BT.2020) and the range are those that the frame is tagged with, BT.601 and
    limited range where it is not, as OpenCV and FFmpeg have it: without tags the pixels are those that OpenCV
    gives, bit for bit. libswscale has no way in PyAV to write to memory of others: it writes a picture of its
    own, which is copied, as OpenCV does it too.

    Args:
        av: PyAV.
        first: The first frame.

    Attributes:
        size_hw: Height and width of what is written, turned as it is shown.
        orientation: Turn and flips with which it is shown.
        is_skewed: Whether a turn by no multiple of 90 degrees is left out.
    """

    def __init__(self, av: Any, first: Any) -> None:  # noqa: ANN401 - of PyAV
        reformatter = av.video.reformatter
        self._reformatter = reformatter.VideoReformatter()
        self._options: dict[str, Any] = {
            "format": "bgr24",
            "interpolation": reformatter.Interpolation.BICUBIC,
            "dst_color_range": _FULL_RANGE,
        }
        try:  # its own threads cost more than they give; before PyAV 17 it had none
            self._reformatter.reformat(av.VideoFrame(16, 16, "yuv420p"), format="bgr24", threads=1)
            self._options["threads"] = 1
        except TypeError:
            pass
        self._stored_hw = (first.height, first.width)
        orientation = _orientation_of(first)
        self.is_skewed = orientation is None
        self.orientation = orientation or Orientation()
        height, width = self._stored_hw
        self.size_hw = (width, height) if self.orientation.is_transposed else (height, width)

    def fits(self, frame: Any) -> bool:  # noqa: ANN401 - of PyAV
        """Whether a frame has the size of the first one."""
        return (frame.height, frame.width) == self._stored_hw

    def write(self, frame: Any, buffer: UInt8Array) -> None:  # noqa: ANN401 - of PyAV
        """Convert one frame.

        Args:
            frame: PyAV's, of the size of the first.
            buffer: (H, W, 3) uint8 of ``size_hw``, C-contiguous; every byte is overwritten.
        """
        is_full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
        # Told, since in PyAV 14 the frame's own range counts for nothing; there full range is taken of MJPEG
        # and its like (yuvj) alone, all else as limited.
        picture = self._reformatter.reformat(
            frame, src_color_range=_FULL_RANGE if is_full else None, **self._options
        )
        plane = picture.planes[0]
        height, width = self._stored_hw
        rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
        stored = rows[:, : 3 * width].reshape(height, width, 3)
        if self.orientation == Orientation():
            np.copyto(buffer, stored)
            return
        # Pixels as one element each: 1.5 times as fast as three.
        pixel = np.dtype((np.void, 3))
        np.copyto(buffer.view(pixel)[..., 0], self.orientation.apply(stored.view(pixel)[..., 0]))
