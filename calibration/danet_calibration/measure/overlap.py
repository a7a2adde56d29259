"""Labelled frames that are also calibration frames; accuracy on them proves little."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from danet_calibration.errors import CalibrationSetError
from danet_calibration.images.images import CalibrationSet
from danet_calibration.measure.accuracy import LabelledSet, Progress

_NAMED = 3


@dataclass(frozen=True)
class Overlap:
    """Labelled frames that calibration used, found by the contents of their files.

    Attributes:
        calibrated: Names of the frames that the scales are made from.
        held_out: Names of the frames that methods are compared on.
        of: Number of labelled frames.
    """

    calibrated: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    of: int = 0

    @property
    def frames(self) -> tuple[str, ...]:
        """Names of all these frames."""
        return (*self.calibrated, *self.held_out)

    def to_json(self) -> dict[str, Any]:
        """Return the values for the JSON of the report and the verdict."""
        return {"calibrated": list(self.calibrated), "held_out": list(self.held_out), "of": self.of}


def find_overlap(images: CalibrationSet, labelled: LabelledSet, progress: Progress | None = None) -> Overlap:
    """Compare the contents of the labelled frames' files with those that calibration reads.

    A copy under another name is found; a picture that was encoded again has other contents and is not.

    Args:
        images: The calibration set and its held-out frames.
        labelled: The gate's frames.
        progress: Called after each frame with the number done and the number of all.

    Raises:
        CalibrationSetError: A labelled frame cannot be read.
    """
    made, compared = set(images.hashes), set(images.held_out.hashes if images.held_out else ())
    calibrated, held_out = list[str](), list[str]()
    pairs = labelled.dataset.pairs
    for done, pair in enumerate(pairs):
        try:
            sha256 = hashlib.sha256(pair.image.read_bytes()).hexdigest()
        except OSError as error:
            raise CalibrationSetError(
                f"the labelled frame {pair.image} cannot be read ({error.strerror}); put it back"
            ) from error
        if sha256 in made:
            calibrated.append(pair.name)
        elif sha256 in compared:
            held_out.append(pair.name)
        if progress:
            progress(done + 1, len(pairs))
    return Overlap(tuple(calibrated), tuple(held_out), len(pairs))


def require_apart(overlap: Overlap) -> None:
    """Refuse a gate that would measure on calibration frames.

    Raises:
        CalibrationSetError: There are such frames.
    """
    if overlap.frames:
        named = ", ".join(overlap.frames[:_NAMED]) + (", ..." if len(overlap.frames) > _NAMED else "")
        raise CalibrationSetError(
            f"{len(overlap.frames)} of the {overlap.of} labelled frames are among those of the calibration, "
            f"by their contents ({named}): INT8 would be measured on what it was made for. Give other frames "
            "to one of the two, or --allow-overlap, which the verdict and the manifest will tell"
        )
