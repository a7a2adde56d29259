"""The ground truth of pictures of data sets, by the packages that know them; a vehicle has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.comparison.labels import FrameAgreement

GROUND_TRUTH_GROUP: Final = "danet.ground_truth"
"""Entry points of packages that read labels: ``(pictures, names of the classes)`` gives for each picture its
labels, (H, W) uint8 with positions in the classes and 255 for none, or ``None`` where it knows none."""


def with_ground_truth(
    kept: Sequence[FrameAgreement], files: Sequence[Path], classes: Sequence[SegmentationClass]
) -> list[FrameAgreement]:
    """The frames with their ground truth, where an installed package knows it.

    Args:
        kept: Frames of a comparison.
        files: Their pictures, one a frame.
        classes: The bundle's classes.
    """
    found = list(kept)
    names = tuple(entry.name for entry in classes)
    for entry in entry_points(group=GROUND_TRUTH_GROUP) if found else ():
        for place, labels in enumerate(entry.load()(files, names)):
            if labels is not None and labels.shape == found[place].labels_a.shape:
                found[place] = replace(found[place], truth=labels)
    return found
