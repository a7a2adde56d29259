"""The child process that reads a camera of the operating system with OpenCV, where a driver may hang.

Started by :mod:`danet_runtime.processes.start` with a file descriptor, it reads the number of the device and
the pixel format from its standard input (see :mod:`danet_runtime.processes.lifeline`) and writes frames, as
:mod:`danet_runtime.sources.protocol.gdp` lays them out, each with the driver's time in place of a stream's.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from danet_runtime.errors import DanetError
from danet_runtime.frames.pixel_formats import Pixels
from danet_runtime.processes.lifeline import read_message
from danet_runtime.sources.protocol import gdp
from danet_runtime.sources.video_files.capture import InPlaceCapture


def main(fd: int, index: int, pixels: Pixels) -> int:
    """Read until no frame comes, or nobody reads any more."""
    name = f"camera {index}"
    try:
        capture = InPlaceCapture(index, "CAP_V4L2" if sys.platform == "linux" else "CAP_ANY", name, pixels)
        buffer = np.empty(capture.pixels.shape(capture.size_hw), np.uint8)
        caps = gdp.write_caps(capture.size_hw, capture.fps, capture.pixels.format)
        gdp.write(fd, gdp.write_header(gdp.CAPS, len(caps)) + caps)
        while (position_ms := capture.read_into(buffer)) is not None:
            has_time = math.isfinite(position_ms) and position_ms > 0
            time_ns = int(position_ms * 1e6) if has_time else None
            gdp.write(fd, gdp.write_header(gdp.BUFFER, buffer.nbytes, time_ns))
            gdp.write(fd, buffer.data.cast("B"))
    except BrokenPipeError:
        return 0
    except DanetError as error:
        print(f"ERROR: {error}", file=sys.stderr, flush=True)
        return 1
    print("ERROR: it gave no frame; it may have been unplugged", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    _index, _format, _color, _range = read_message()
    _pixels = Pixels(_format, _color, _range)  # type: ignore[arg-type]  # the parent's own, as words
    sys.exit(main(int(sys.argv[1]), int(_index), _pixels))
