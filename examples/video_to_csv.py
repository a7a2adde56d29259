"""The share of each class in each frame of a video, as a table of comma-separated values.

python examples/video_to_csv.py BUNDLE VIDEO TABLE
"""

import csv
import sys
from pathlib import Path

from danet_runtime import Segmenter, Stream


def main(bundle: str, video: str, table: str) -> None:
    """A row for each frame: its number, its time in the file, the share of each class."""
    with (
        Segmenter(bundle) as segmenter,
        Stream(segmenter, video) as stream,
        Path(table).open("w", newline="", encoding="utf-8") as file,
    ):
        names = [entry.name for entry in segmenter.classes]
        rows = csv.writer(file)
        rows.writerow(["frame", "time_ms", *names])
        for result in stream:
            areas = result.areas()
            shares = (f"{areas.get(name, 0):.4f}" for name in names)
            rows.writerow([result.frame_id, result.media_time_ms, *shares])
    print(f"{stream.frames_out} frames in {table}")


if __name__ == "__main__":
    main(*sys.argv[1:])
