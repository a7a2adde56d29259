"""The picture of an explanation: input, result, where pixels look, and channels before and after."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from danet_train.classes import IGNORE, ClassTable
from danet_train.data.sample import Image
from danet_train.explain.explanation import Explanation
from danet_train.files import replacing

_COLUMNS = 4
_PANEL_INCHES = 4.0
_DPI = 150
_MARKS = ("#00e5ff", "#ff4fd8", "#b6ff00", "#ff9100", "#ffffff", "#8c7bff")
_BRIGHTEST = 99.9
"""The scale of a map ends at this percentile: one cell of great weight would leave the rest black."""


def draw(
    explanation: Explanation, image: Image, classes: ClassTable, truth: Image | None, path: Path
) -> None:
    """Write the picture to ``path`` as a PNG, whole or not at all; the same arguments give the same bytes.

    Args:
        explanation: Of ``image``.
        image: (H, W, 3) uint8 BGR.
        classes: Names and colours.
        truth: (H, W) uint8 train ids, 255 where ignored; None leaves that panel out.
        path: With the suffix ``.png``.
    """
    sections = [_results, *([_positions] if explanation.pixels else [])]
    sections += [_channels] if explanation.channels else []
    rows = [1, -(-len(explanation.pixels) // _COLUMNS), -(-2 * len(explanation.channels) // _COLUMNS)]
    rows = [count for count in rows if count]
    panel = _PANEL_INCHES * image.shape[0] / image.shape[1] + 0.42
    heights = [count * panel + 0.45 for count in rows]
    note = "\n".join(textwrap.fill(text, 170) for text in explanation.notes)
    bottom = 0.22 * (note.count("\n") + 1) + 0.1 if note else 0.0
    figure = Figure(figsize=(_COLUMNS * (_PANEL_INCHES + 0.3), sum(heights) + bottom), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    ratios = [*heights, *([bottom] if note else [])]
    parts = np.atleast_1d(figure.subfigures(len(ratios), 1, height_ratios=ratios, hspace=0))
    for part, section, count in zip(parts, sections, rows, strict=False):
        top = 1 - 0.62 / (part.bbox.height / _DPI)
        grid = part.add_gridspec(
            count, _COLUMNS, left=0.012, right=0.965, bottom=0.02, top=top, wspace=0.16, hspace=0.17
        )
        cells = [part.add_subplot(place) for place in grid]
        for cell in cells:
            cell.set_axis_off()
        section(part, cells, explanation, image, classes, truth)
    if note:
        parts[-1].text(0.012, 0.95, note, fontsize=11, va="top", color="#a00000")
    with replacing(path) as partial:
        canvas.print_png(partial, metadata={"Software": None})


def _results(
    part: Any,  # noqa: ANN401 - matplotlib has no types
    cells: list[Any],
    explanation: Explanation,
    image: Image,
    classes: ClassTable,
    truth: Image | None,
) -> None:
    _heading(part, "Input and result")
    marked = ", with the pixels of the next row" if explanation.pixels else ""
    _show(cells[0], image[..., ::-1], f"Input{marked}")
    for index in range(len(explanation.pixels)):
        _mark(cells[0], explanation, index)
    palette = classes.palette()
    _show(cells[1], palette[explanation.labels], "Segmentation")
    shown = set(np.unique(explanation.labels).tolist())
    legend = cells[2]
    if truth is not None:
        _show(cells[2], palette[truth], "Ground truth (black: ignored)")
        shown |= set(np.unique(truth).tolist()) - {IGNORE}
        legend = cells[3]
    patches = [
        Patch(facecolor=np.array(classes.colours[index]) / 255, edgecolor="black", label=classes.names[index])
        for index in sorted(shown)
    ]
    legend.legend(
        handles=patches,
        ncols=2 if len(patches) > 7 else 1,
        fontsize=10,
        frameon=False,
        loc="upper left",
        borderaxespad=0,
        handlelength=1.4,
        labelspacing=0.45,
    )


def _positions(
    part: Any,  # noqa: ANN401
    cells: list[Any],
    explanation: Explanation,
    image: Image,
    classes: ClassTable,
    truth: Image | None,
) -> None:
    _heading(
        part,
        "Position attention: where each marked pixel looks (eq. 1); 1 on the scale is an even look at all "
        f"positions.  PAM's gamma = {explanation.pam_gamma:.3g}",
    )
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2RGB)
    for index, (cell, pixel) in enumerate(zip(cells, explanation.pixels, strict=False)):
        heat = explanation.at_image_size(pixel.weights * pixel.weights.size)
        name = classes.names[pixel.train_id]
        _show(cell, grey, f"{index + 1}: pixel ({pixel.x}, {pixel.y}), {name}")
        _heat(cell, heat, "inferno", low=0.0, alpha=0.72)
        _mark(cell, explanation, index)


def _channels(
    part: Any,  # noqa: ANN401
    cells: list[Any],
    explanation: Explanation,
    image: Image,
    classes: ClassTable,
    truth: Image | None,
) -> None:
    _heading(
        part,
        "Channel attention: channels before and after (eq. 4); named is the class that a channel tells best, "
        f"by so many standard deviations.  CAM's gamma = {explanation.cam_gamma:.3g}",
    )
    for index, maps in enumerate(explanation.channels):
        channel = maps.channel
        told = (
            ""
            if channel.train_id is None
            else f", {classes.names[channel.train_id]} {channel.separation:+.1f}"
        )
        for cell, values, when in (
            (cells[2 * index], maps.before, "before"),
            (cells[2 * index + 1], maps.after, f"after{told}"),
        ):
            full = explanation.at_image_size(values)
            _show(cell, full, f"Channel {channel.index} {when}", cmap="viridis", norm=_scale(full))
            _bar(cell, cell.images[-1], full)


def _heading(part: Any, text: str) -> None:  # noqa: ANN401
    height = part.bbox.height / _DPI
    part.text(0.012, 1 - 0.1 / height, text, fontsize=13, fontweight="bold", va="top")


def _show(cell: Any, picture: npt.NDArray[Any], title: str, **style: Any) -> None:  # noqa: ANN401
    cell.imshow(picture, interpolation="antialiased", **style)
    cell.set_title(title, fontsize=11, loc="left", pad=4)


def _scale(values: npt.NDArray[np.float32], low: float | None = None) -> Normalize:
    bottom = float(np.percentile(values, 100 - _BRIGHTEST)) if low is None else low
    top = float(np.percentile(values, _BRIGHTEST))
    return Normalize(bottom, top if top > bottom else bottom + 1)


def _heat(cell: Any, values: npt.NDArray[np.float32], cmap: str, low: float, alpha: float) -> None:  # noqa: ANN401
    norm = _scale(values, low)
    shown = cell.imshow(values, cmap=cmap, norm=norm, alpha=alpha, interpolation="antialiased")
    _bar(cell, shown, values)


def _bar(cell: Any, shown: Any, values: npt.NDArray[np.float32]) -> None:  # noqa: ANN401
    place = cell.inset_axes((1.012, 0, 0.022, 1))  # outside, so that all panels stay of one size
    extend = "max" if values.max() > shown.norm.vmax * (1 + 1e-6) else "neither"
    bar = cell.figure.colorbar(shown, cax=place, extend=extend)
    bar.ax.tick_params(labelsize=8, length=2, pad=1.5)
    bar.solids.set_alpha(1)


def _mark(cell: Any, explanation: Explanation, index: int) -> None:  # noqa: ANN401
    pixel, colour = explanation.pixels[index], _MARKS[index % len(_MARKS)]
    height, width = explanation.labels.shape
    style = {"markersize": 13, "linestyle": "none", "marker": "+"}
    cell.plot(pixel.x, pixel.y, color="black", markeredgewidth=4, **style)
    cell.plot(pixel.x, pixel.y, color=colour, markeredgewidth=2, **style)
    right = pixel.x < 0.9 * width
    cell.annotate(
        str(index + 1),
        (pixel.x, pixel.y),
        xytext=(7 if right else -7, -4 if pixel.y < 0.15 * height else 4),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top" if pixel.y < 0.15 * height else "bottom",
        fontsize=10,
        fontweight="bold",
        color="black",
        bbox={"boxstyle": "round,pad=0.15", "facecolor": colour, "edgecolor": "black", "linewidth": 0.8},
    )
