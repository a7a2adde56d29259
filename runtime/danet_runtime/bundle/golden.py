"""The golden frame of a bundle: a frame and the labels that every backend must give of it."""

from __future__ import annotations

from danet_runtime.bundle.manifest import FrameSpec
from danet_runtime.bundle.reader import Bundle
from danet_runtime.dependencies import opencv
from danet_runtime.errors import BundleError, SourceError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.pictures.reading import decode


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
