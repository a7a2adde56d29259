"""The golden frame of a bundle: a frame and the labels that every backend must give of it.

Whoever runs a variant is held to it here, with one message: a stream at its start, ``danet profile``, an
engine that was just built, and the calibration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from danet_runtime.bundle.manifest import FrameSpec, GoldenOrigin, Precision
from danet_runtime.bundle.reader import Bundle
from danet_runtime.dependencies import opencv
from danet_runtime.errors import AgreementError, BundleError, SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.pictures.reading import decode

GOLDEN_SHOWS: Final[dict[GoldenOrigin | None, str]] = {
    "drawn": "a drawn pattern: export with --data of the camera",
    "frames": "the first of `danet export --data`",
    "calibration": "a frame of the calibration",
    None: "what an older version did not tell: export again, with --data of the camera",
}
"""Description of what a golden frame shows, by its origin, with what to do about it."""


@dataclass(frozen=True)
class GoldenCheck:
    """How many of the golden frame's labels were given, and how many the bundle asks for.

    Attributes:
        precision: Precision of the variant that gave the labels.
        share: Share of labels that are equal to the golden ones, 0..1.
        asked: The share that the bundle asks of this precision.
        origin: Origin of the golden frame; ``None`` where the bundle does not state it.
    """

    precision: Precision
    share: float
    asked: float
    origin: GoldenOrigin | None

    @property
    def is_passed(self) -> bool:
        """Whether there are as many as the bundle asks for."""
        return self.share >= self.asked

    def complaint(self, who: str) -> str:
        """Describe what is wrong where the check is not passed, in words without a full stop.

        Args:
            who: Name of the backend that gave the labels.
        """
        return (
            f"{who} gives {self.share:.2%} of the golden frame's labels in {self.precision}; expected "
            f"{100 * self.asked:g}% or more (it shows {GOLDEN_SHOWS[self.origin]})"
        )

    def require(self, who: str) -> None:
        """Refuse to go on with wrong masks.

        Args:
            who: Name of the backend that gave the labels.

        Raises:
            AgreementError: It is not passed.
        """
        if not self.is_passed:
            raise AgreementError(
                f"{self.complaint(who)}. Its masks are wrong: build the engine again, or run "
                "another precision"
            )


def check_golden(
    bundle: Bundle, precision: Precision, label: Callable[[UInt8Array], UInt8Array]
) -> GoldenCheck:
    """Have the golden frame labelled, and compare.

    Args:
        bundle: The bundle whose golden frame and labels are used.
        precision: Precision of the variant that labels the frame.
        label: Maps a frame in the bundle's own format and size to its labels (H, W), as a segmenter does.

    Raises:
        BundleError: The golden frame cannot be used.
        MissingDependencyError: OpenCV is not installed.
    """
    frame, expected = golden_frame(bundle)
    return judge_golden(bundle, precision, float(np.mean(label(frame) == expected)))


def judge_golden(bundle: Bundle, precision: Precision, share: float) -> GoldenCheck:
    """Hold a share of equal labels that was measured already to what the bundle asks for."""
    golden = bundle.manifest.golden
    return GoldenCheck(precision, share, golden.agreement[precision], golden.origin)


def golden_frame(bundle: Bundle) -> tuple[UInt8Array, UInt8Array]:
    """The bundle's golden frame, in its own pixel format, and its labels (H, W).

    Both are verified, and owned by the caller.

    Raises:
        IntegrityError: One of the files is not the one that was written.
        BundleError: One of the files is no picture of the frame size.
        MissingDependencyError: OpenCV is not installed.
    """
    cv2 = opencv("reading the golden frame")
    golden = bundle.manifest.golden
    spec = bundle.manifest.frame
    pictures = []
    for ref, shape in ((golden.frame, stored_shape(spec)), (golden.labels, spec.size_hw)):
        data = bundle.read(ref)
        try:
            # The manifest's own size, before a byte is decoded: a small PNG may state gigabytes.
            picture = decode(
                data, str(bundle.path / ref.path), cv2.IMREAD_UNCHANGED, size_hw=(shape[0], shape[1])
            )
        except SourceError as error:
            raise BundleError(f"{error}; export the bundle again") from error
        if picture.shape != shape:
            raise BundleError(
                f"{bundle.path / ref.path}: expected a picture {shape}, got {picture.shape}; export again"
            )
        pictures.append(picture)
    return pictures[0].reshape(spec.shape), pictures[1]


def stored_shape(spec: FrameSpec) -> tuple[int, ...]:
    """Shape of the PNG of a golden frame, which holds the very bytes that the model takes.

    So the golden frame depends on no conversion. A PNG has no two channels: uyvy is stored as (H, 2 W).
    """
    return (spec.size_hw[0], 2 * spec.size_hw[1]) if spec.pixel_format == "uyvy" else spec.shape
