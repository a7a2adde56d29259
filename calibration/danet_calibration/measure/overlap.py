"""Frames that both make the scales and measure them: of these, the accuracy proves little."""

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
    """Labelled frames that calibration saw, by what their files hold: a copy under another name is one too.

    Attributes:
        calibrated: That scales are made of.
        held_out: That methods are compared on.
        of: How many labelled frames there are.
    """

    calibrated: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    of: int = 0

    @property
    def frames(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.calibrated, *self.held_out)

    def to_json(self) -> dict[str, Any]:
        """As it stands in the report and in the verdict."""
        return {"calibrated": list(self.calibrated), "held_out": list(self.held_out), "of": self.of}


def find_overlap(images: CalibrationSet, labelled: LabelledSet, progress: Progress | None = None) -> Overlap:
    """Compare the contents of the labelled frames' files with those that calibration reads.

    A picture that was encoded anew has other contents and is not found.

    Args:
        images: The set, and what it holds out.
        labelled: The gate's frames.
        progress: Is told after each how many of how many are done.

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
    """Refuse a gate that would measure what the calibration was made of.

    Raises:
        CalibrationSetError: It would.
    """
    if overlap.frames:
        named = ", ".join(overlap.frames[:_NAMED]) + (", ..." if len(overlap.frames) > _NAMED else "")
        raise CalibrationSetError(
            f"{len(overlap.frames)} of the {overlap.of} labelled frames are among those of the calibration, "
            f"by their contents ({named}): INT8 would be measured on what it was made for. Give other frames "
            "to one of the two, or --allow-overlap, which the verdict and the manifest will tell"
        )
