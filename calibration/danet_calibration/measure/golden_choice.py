"""Choice of an INT8 bundle's golden frame among the camera's frames, where the export had none.

A network's labels of a drawn pattern depend on rounding: INT8 that costs 0.05 points of mIoU on real frames
gave 91 % of a pattern's labels. Such a golden frame, and one of an older version that does not say what it
shows, is replaced by a frame of the kind that the bundle is made for.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from danet_calibration.images.images import CalibrationSet, manifest_frames
from danet_calibration.measure.accuracy import Step
from danet_runtime.bundle import Bundle, BundleWriter, Golden
from danet_runtime.bundle.golden import GOLDEN_SHOWS, stored_shape
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.frames.color import to_pixel_format
from danet_runtime.inference.segmenter import Segmenter

CANDIDATES: Final = 5
"""Number of frames to choose from; each is run in FP32 and in FP16."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A frame with FP32's labels of it.

    Attributes:
        name: Path below the folder of the images.
        agreement: Share of FP32's labels that FP16 gives, 0..1; the rest depends on rounding.
        commonest: Share of the pixels that the commonest label takes.
    """

    name: str
    frame: UInt8Array
    labels: UInt8Array
    agreement: float
    commonest: float


def put_golden(bundle: Bundle, images: CalibrationSet, writer: BundleWriter, step: Step) -> Bundle:
    """Replace a golden frame that was drawn, or whose origin is not known.

    The new one is chosen before there is any INT8, by FP32 and FP16 alone. Of :data:`CANDIDATES` held-out
    frames (or of the calibration's own where none are held out) those remain on which FP16 meets its limit of
    agreement, and whose labels are so mixed that a single class throughout would fail even INT8's limit. Of
    these the one with the median agreement of FP16 is taken.

    Args:
        bundle: Preview of the new bundle, with FP32 and FP16.
        images: Images to choose from.
        writer: Writer of the new bundle.
        step: Called with the name of a step, the parts done and the number of parts.

    Returns:
        The bundle with the new golden frame; unchanged where ``danet export`` was given frames, or where no
        image is fit, which is logged.
    """
    if bundle.manifest.golden.origin == "frames":
        return bundle
    step("choose the golden frame", 0, 0)
    apart = images.held_out or images
    candidates = _look(bundle, apart)
    chosen = _choose(candidates, bundle.manifest.golden)
    if chosen is None:
        logger.warning(
            "the golden frame stays as it was and shows %s; none of %d frames of the calibration will do: "
            "FP16 gives at most %.2f %% of FP32's labels, or one class takes nearly all of them",
            GOLDEN_SHOWS[bundle.manifest.golden.origin],
            len(candidates),
            100 * max(candidate.agreement for candidate in candidates),
        )
        return bundle
    logger.info("the golden frame is %s, as export had none of the camera", chosen.name)
    stored = chosen.frame.reshape(stored_shape(bundle.manifest.frame))
    golden = bundle.manifest.golden.model_copy(
        update={
            "frame": writer.add(bundle.manifest.golden.frame.path, _png(stored)),
            "labels": writer.add(bundle.manifest.golden.labels.path, _png(chosen.labels)),
            "origin": "calibration",
        }
    )
    return writer.preview(bundle.manifest.model_copy(update={"golden": golden}))


def _look(bundle: Bundle, images: CalibrationSet) -> list[_Candidate]:
    spec = bundle.manifest.frame
    candidates = []
    names = (name for name, _ in manifest_frames(images))
    with Segmenter(bundle, "fp32") as whole, Segmenter(bundle, "fp16") as half:
        pictures = zip(names, images.frames(spec.size_hw), strict=True)
        for name, picture in itertools.islice(pictures, CANDIDATES):
            frame = to_pixel_format(picture, spec.pixels)
            labels = whole.labels_of(frame)
            agreement = float(np.mean(half.labels_of(frame) == labels))
            commonest = float(np.bincount(labels.ravel()).max() / labels.size)
            candidates.append(_Candidate(name, frame, labels, agreement, commonest))
    return candidates


def _choose(candidates: Sequence[_Candidate], golden: Golden) -> _Candidate | None:
    asked = golden.agreement
    fit = [
        candidate
        for candidate in candidates
        if candidate.agreement >= asked["fp16"] and candidate.commonest < min(asked.values())
    ]
    fit.sort(key=lambda candidate: candidate.agreement)
    return fit[len(fit) // 2] if fit else None


def _png(image: UInt8Array) -> bytes:
    _, data = cv2.imencode(".png", image)
    return data.tobytes()
