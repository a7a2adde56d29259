"""One picture of a frame on which two sides differ: the frame, both label maps, and where they differ."""

from __future__ import annotations

from typing import Any

import numpy as np

from danet_runtime.bundle.manifest import SegmentationClass
from danet_runtime.comparison.labels import FrameAgreement
from danet_runtime.dependencies import opencv
from danet_runtime.errors import SinkError
from danet_runtime.frames.arrays import UInt8Array

_PANEL_MIN_WIDTH, _PANEL_MAX_WIDTH = 512, 1024
_GAP = 8
_CAPTION_PX = 30
_LEGEND_LINE_PX = 26
_TEXT_SCALE = 0.55
_INK = (235, 235, 235)
_GROUND = 24
_DIFFERENT = (255, 255, 0)  # BGR cyan: no class of Cityscapes or CamVid comes near it
_NO_CLASS = "no class"


class DifferencePicture:
    """Draws frames on which A and B differ.

    Args:
        names: Names of A and B.
        classes: The bundle's classes.
        palette: (256, 3) uint8 BGR, one color a label.

    Raises:
        MissingDependencyError: OpenCV is not installed.
    """

    def __init__(
        self, names: tuple[str, str], classes: tuple[SegmentationClass, ...], palette: UInt8Array
    ) -> None:
        self._cv2: Any = opencv("drawing comparisons")
        self._names = names
        self._classes = classes
        self._palette = palette

    def encode(self, compared: FrameAgreement) -> bytes:
        """The picture of :meth:`draw` as a PNG file.

        Raises:
            SinkError: OpenCV cannot encode it.
        """
        done, data = self._cv2.imencode(".png", self.draw(compared))
        if not done:
            raise SinkError(f"OpenCV cannot encode the picture of {compared.name} as PNG; look at its codecs")
        return bytes(data.tobytes())

    def draw(self, compared: FrameAgreement) -> UInt8Array:
        """(H', W', 3) uint8 BGR: four captioned panels over a legend of the classes in this frame."""
        size = self._panel_size(compared.labels_a.shape)
        different = compared.labels_a != compared.labels_b
        share = f"{1 - compared.agreement:.2%}"
        smooth = self._cv2.INTER_AREA if size[0] < different.shape[1] else self._cv2.INTER_LINEAR
        frame = self._cv2.resize(compared.frame, size, interpolation=smooth)
        panels = [
            self._captioned(frame, compared.name),
            self._captioned(self._difference(frame, different, size), f"different: {share} of the pixels"),
            self._captioned(self._colored(compared.labels_a, size), f"A  {self._names[0]}"),
            self._captioned(self._colored(compared.labels_b, size), f"B  {self._names[1]}"),
        ]
        gap = np.full((panels[0].shape[0], _GAP, 3), _GROUND, np.uint8)
        rows = [np.hstack([gap, left, gap, right, gap]) for left, right in (panels[:2], panels[2:])]
        return np.asarray(np.vstack([*rows, self._legend(compared, different, rows[0].shape[1])]), np.uint8)

    def _panel_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Width and height: small frames are enlarged by a whole factor, large ones made smaller."""
        height, width = shape[0], shape[1]
        if width > _PANEL_MAX_WIDTH:
            return _PANEL_MAX_WIDTH, max(1, round(height * _PANEL_MAX_WIDTH / width))
        factor = -(-_PANEL_MIN_WIDTH // width) if width < _PANEL_MIN_WIDTH else 1
        return width * factor, height * factor

    def _colored(self, labels: UInt8Array, size: tuple[int, int]) -> UInt8Array:
        nearest = self._cv2.resize(labels, size, interpolation=self._cv2.INTER_NEAREST_EXACT)
        return np.asarray(self._palette[nearest], np.uint8)

    def _difference(
        self, frame: UInt8Array, different: np.ndarray[Any, np.dtype[np.bool_]], size: tuple[int, int]
    ) -> UInt8Array:
        """The frame in dim grey, with the pixels that differ; made smaller, none of them is lost."""
        smaller = size[0] < different.shape[1]
        how = self._cv2.INTER_AREA if smaller else self._cv2.INTER_NEAREST_EXACT
        mask = self._cv2.resize(different.astype(np.float32), size, interpolation=how) > 0
        grey = self._cv2.cvtColor(frame, self._cv2.COLOR_BGR2GRAY) // 2
        picture = np.repeat(grey[..., None], 3, axis=2)
        picture[mask] = _DIFFERENT
        return np.asarray(picture, np.uint8)

    def _captioned(self, panel: UInt8Array, text: str) -> UInt8Array:
        caption = np.full((_CAPTION_PX, panel.shape[1], 3), _GROUND, np.uint8)
        self._write(caption, text, 0, _CAPTION_PX - 10)
        return np.vstack([caption, panel])

    def _write(self, picture: UInt8Array, text: str, left: int, base: int) -> None:
        font = self._cv2.FONT_HERSHEY_SIMPLEX
        self._cv2.putText(picture, text, (left, base), font, _TEXT_SCALE, _INK, 1, self._cv2.LINE_AA)

    def _legend(self, compared: FrameAgreement, different: np.ndarray[Any, Any], width: int) -> UInt8Array:
        """Classes of either side in this frame, the most frequent first, then the color of what differs."""
        counts = np.bincount(compared.labels_a.ravel(), minlength=256)
        counts += np.bincount(compared.labels_b.ravel(), minlength=256)
        labels = [int(label) for label in np.argsort(-counts, kind="stable") if counts[label]]
        entries = [(self._name(label), tuple(map(int, self._palette[label]))) for label in labels]
        if different.any():
            entries.append(("different", _DIFFERENT))
        swatch = _LEGEND_LINE_PX - 10
        sizes = [self._text_width(name) + swatch + 24 for name, _ in entries]
        columns = max(1, (width - 2 * _GAP) // max(sizes))
        lines = -(-len(entries) // columns)
        legend = np.full((lines * _LEGEND_LINE_PX + 2 * _GAP, width, 3), _GROUND, np.uint8)
        for position, (name, color) in enumerate(entries):
            left = _GAP + position % columns * max(sizes)
            top = _GAP + position // columns * _LEGEND_LINE_PX
            corner = (left + swatch, top + 5 + swatch)
            self._cv2.rectangle(legend, (left, top + 5), corner, color, -1)
            self._cv2.rectangle(legend, (left, top + 5), corner, (128, 128, 128), 1)
            self._write(legend, name, left + swatch + 8, top + _LEGEND_LINE_PX - 8)
        return legend

    def _name(self, label: int) -> str:
        return self._classes[label].name if label < len(self._classes) else _NO_CLASS

    def _text_width(self, text: str) -> int:
        return int(self._cv2.getTextSize(text, self._cv2.FONT_HERSHEY_SIMPLEX, _TEXT_SCALE, 1)[0][0])
