"""Segment one picture: what is in it, an overlay to look at, a mask to work with.

python examples/segment_picture.py BUNDLE PICTURE [OUTPUT_FOLDER]
"""

import sys
from pathlib import Path

from danet_runtime import Segmenter


def main(bundle: str, picture: str, folder: str = ".") -> None:
    """Print the share of each class, and write ``overlay.png`` and ``mask.png``."""
    with Segmenter(bundle) as segmenter:
        result = segmenter(picture)  # or an array (H, W, 3) uint8 BGR, a picture of Pillow, a list of these
    for name, share in result.areas().items():
        print(f"{name:16} {100 * share:5.1f} %")
    print("written:", result.save_overlay(Path(folder) / "overlay.png"))
    print("written:", result.save_mask(Path(folder) / "mask.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
