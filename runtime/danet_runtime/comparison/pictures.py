"""One picture of a frame on which two sides differ: the frame, both label maps, and where they differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from danet_runtime.bundle.manifest import IGNORE_LABEL, SegmentationClass
from danet_runtime.comparison.labels import FrameAgreement
from danet_runtime.dependencies import opencv
from danet_runtime.errors import SinkError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.pictures.panels import LegendEntry, Panel, PanelDrawing, panel_size

_PANEL_LEAST_PX, _PANEL_MOST_PX = 512, 1024
_DIFFERENT: Final = LegendEntry("different", (255, 255, 0))  # BGR cyan: no class of Cityscapes comes near it
_A_RIGHT: Final = LegendEntry("A alone is right", (66, 228, 240))
_B_RIGHT: Final = LegendEntry("B alone is right", (233, 180, 86))
_BOTH_WRONG: Final = LegendEntry("both are wrong", (0, 94, 213))  # all three stay apart for the color-blind
_NO_CLASS = "no class"

_Mask = npt.NDArray[np.bool_]


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
        self._panels = PanelDrawing(self._cv2)
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
        """(H', W', 3) uint8 BGR: captioned panels over a legend of the classes in this frame.

        Frame, difference, A and B; where the ground truth is known also that, and which side is right.
        """
        labels_a, labels_b, truth = compared.labels_a, compared.labels_b, compared.truth
        size = panel_size((labels_a.shape[0], labels_a.shape[1]), _PANEL_LEAST_PX, _PANEL_MOST_PX)
        different = labels_a != labels_b
        smooth = self._cv2.INTER_AREA if size[0] < different.shape[1] else self._cv2.INTER_LINEAR
        frame = self._cv2.resize(compared.frame, size, interpolation=smooth)
        image = Panel(compared.name, frame)
        difference = Panel(
            f"different: {1 - compared.agreement:.2%} of the pixels",
            self._marked(frame, size, [(different, _DIFFERENT)]),
        )
        side_a = Panel(f"A  {self._names[0]}", self._colored(labels_a, size))
        side_b = Panel(f"B  {self._names[1]}", self._colored(labels_b, size))
        legend = [*self._present(compared)]
        if different.any():
            legend.append(_DIFFERENT)
        if truth is None:
            return self._panels.draw([[image, difference], [side_a, side_b]], legend)
        known = truth != IGNORE_LABEL
        right_a, right_b = (labels_a == truth) & known, (labels_b == truth) & known
        marks = [
            (known & ~right_a & ~right_b, _BOTH_WRONG),
            (right_a & ~right_b, _A_RIGHT),
            (right_b & ~right_a, _B_RIGHT),
        ]
        ground = Panel("ground truth (black: ignored)", self._colored(truth, size))
        right = Panel(_right_words(right_a, right_b, known), self._marked(frame, size, marks))
        legend += [entry for mask, entry in (*marks[1:], marks[0]) if mask.any()]
        return self._panels.draw([[image, ground, difference], [side_a, side_b, right]], legend)

    def _colored(self, labels: UInt8Array, size: tuple[int, int]) -> UInt8Array:
        nearest = self._cv2.resize(labels, size, interpolation=self._cv2.INTER_NEAREST_EXACT)
        return np.asarray(self._palette[nearest], np.uint8)

    def _marked(
        self, frame: UInt8Array, size: tuple[int, int], marks: list[tuple[_Mask, LegendEntry]]
    ) -> UInt8Array:
        """The frame in dim grey, with marked pixels; made smaller, none of the last mark's is lost."""
        grey = self._cv2.cvtColor(frame, self._cv2.COLOR_BGR2GRAY) // 2
        picture = np.repeat(grey[..., None], 3, axis=2)
        for mask, entry in marks:
            smaller = size[0] < mask.shape[1]
            how = self._cv2.INTER_AREA if smaller else self._cv2.INTER_NEAREST_EXACT
            picture[self._cv2.resize(mask.astype(np.float32), size, interpolation=how) > 0] = entry.color
        return np.asarray(picture, np.uint8)

    def _present(self, compared: FrameAgreement) -> Iterator[LegendEntry]:
        """Classes of either side and of the ground truth in this frame, the most frequent first."""
        counts = np.bincount(compared.labels_a.ravel(), minlength=256)
        counts += np.bincount(compared.labels_b.ravel(), minlength=256)
        if compared.truth is not None:
            counts[:IGNORE_LABEL] += np.bincount(compared.truth.ravel(), minlength=256)[:IGNORE_LABEL]
        for label in np.argsort(-counts, kind="stable"):
            if counts[label]:
                blue, green, red = (int(level) for level in self._palette[label])
                yield LegendEntry(self._name(int(label)), (blue, green, red))

    def _name(self, label: int) -> str:
        return self._classes[label].name if label < len(self._classes) else _NO_CLASS


def _right_words(right_a: _Mask, right_b: _Mask, known: _Mask) -> str:
    count = int(known.sum())
    if not count:
        return "no pixel has a ground truth"
    a, b = (int(right.sum()) / count for right in (right_a, right_b))
    return f"right: A {a:.2%}, B {b:.2%} of the labelled pixels"
