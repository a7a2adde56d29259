"""Where two variants of one bundle give different labels on a picture, as a picture.

python examples/compare_precisions.py BUNDLE PICTURE [OUTPUT] [PRECISION PRECISION]
"""

import sys

import cv2

from danet_runtime import Segmenter


def main(
    bundle: str, picture: str, output: str = "differences.png", first: str = "fp32", second: str = "fp16"
) -> None:
    """Print the agreement, and write the overlay with what differs in white."""
    with Segmenter(bundle, first) as one, Segmenter(bundle, second) as other:
        mine, theirs = one(picture), other(picture)
    differs = mine.labels != theirs.labels  # (H, W) bool
    shown = mine.overlay()
    shown[differs] = 255
    if not cv2.imwrite(output, shown):
        sys.exit(f"{output} cannot be written")
    print(f"{first} and {second} agree on {100 * (1 - differs.mean()):.2f} % of the pixels; see {output}")


if __name__ == "__main__":
    main(*sys.argv[1:])
