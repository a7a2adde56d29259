"""Draw an explanation: input, result, position attention, and channels before and after."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from danet_train.classes import IGNORE, ClassTable
from danet_train.data.samples.sample import Image
from danet_train.explain.explanation import Explanation
from danet_train.files.atomic import replacing

_COLUMNS = 4
_WIDTH_INCHES = 17.2
_LEFT, _RIGHT, _GAP = 0.012, 0.965, 0.16
_DPI = 150
_MARKS = ("#00e5ff", "#ff4fd8", "#b6ff00", "#ff9100", "#ffffff", "#8c7bff")
_BRIGHTEST = 99.9
"""The scale of a channel ends at this percentile, and begins at what is left of 100."""
_TALLEST = 2.5
"""Largest ratio of a panel's height to its width; a taller image is drawn narrower."""
_FAINTEST = 0.1
"""The scale of weights begins at this share of even attention."""
_HEAT = "inferno"


def draw(
    explanation: Explanation, image: Image, classes: ClassTable, truth: Image | None, path: Path
) -> None:
    """Write the picture to ``path`` as a PNG, whole or not at all; the same arguments give the same bytes.

    Args:
        explanation: The attentions on ``image``.
        image: (H, W, 3) uint8 BGR.
        classes: Names and colors of the classes.
        truth: (H, W) uint8 train ids, 255 where ignored; None leaves that panel out.
        path: The file to write, with the suffix ``.png``.
    """
    scene = _Scene(explanation, image, classes, truth)
    sections = [_results, *([_positions] if explanation.pixels else [])]
    sections += [_channels] if explanation.channels else []
    rows = [1, -(-len(explanation.pixels) // _COLUMNS), -(-2 * len(explanation.channels) // _COLUMNS)]
    rows = [count for count in rows if count]
    width = _WIDTH_INCHES * (_RIGHT - _LEFT) / (_COLUMNS + _GAP * (_COLUMNS - 1))
    panel = width * min(image.shape[0] / image.shape[1], _TALLEST)
    heights = [count * (panel + 0.34) + 0.48 for count in rows]
    note = "\n".join(textwrap.fill(text, 170) for text in explanation.notes)
    bottom = 0.22 * (note.count("\n") + 1) + 0.1 if note else 0.0
    figure = Figure(figsize=(_WIDTH_INCHES, sum(heights) + bottom), dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    ratios = [*heights, *([bottom] if note else [])]
    parts = figure.subfigures(len(ratios), 1, squeeze=False, height_ratios=ratios, hspace=0)[:, 0]
    for part, section, count in zip(parts, sections, rows, strict=False):
        top = 1 - 0.58 / (part.bbox.height / _DPI)
        grid = part.add_gridspec(
            count, _COLUMNS, left=_LEFT, right=_RIGHT, bottom=0.0, top=top, wspace=_GAP, hspace=0.34 / panel
        )
        cells = [part.add_subplot(place) for place in grid]
        for cell in cells:
            cell.set_axis_off()
        section(part, cells, scene)
    if note:
        parts[-1].text(_LEFT, 0.95, note, fontsize=11, va="top", color="#a00000")
    with replacing(path) as partial:
        canvas.print_png(partial, metadata={"Software": None})


class _Scene(NamedTuple):
    """The data that the sections of the picture are drawn from, as :func:`draw` takes it."""

    explanation: Explanation
    image: Image
    classes: ClassTable
    truth: Image | None


def _results(part: Any, cells: list[Any], scene: _Scene) -> None:  # noqa: ANN401 - matplotlib has no types
    _heading(part, "Input and result")
    marked = ", with the pixels of the next row" if scene.explanation.pixels else ""
    _show(cells[0], scene.image[..., ::-1], f"Input{marked}")
    for index in range(len(scene.explanation.pixels)):
        _mark(cells[0], scene.explanation, index)
    palette = scene.classes.palette()
    _show(cells[1], palette[scene.explanation.labels], "Segmentation")
    shown = set(np.unique(scene.explanation.labels).tolist())
    legend = cells[2]
    if scene.truth is not None:
        _show(cells[2], palette[scene.truth], "Ground truth (black: ignored)")
        shown |= set(np.unique(scene.truth).tolist()) - {IGNORE}
        legend = cells[3]
    patches = [
        Patch(
            facecolor=np.array(scene.classes.colors[index]) / 255,
            edgecolor="black",
            label=scene.classes.names[index],
        )
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


def _positions(part: Any, cells: list[Any], scene: _Scene) -> None:  # noqa: ANN401
    _heading(
        part,
        "Position attention: what each marked pixel attends to (eq. 1), on a logarithmic scale; 1 is even "
        f"attention to all positions.  PAM's gamma = {scene.explanation.pam_gamma:.3g}",
    )
    grey = cv2.cvtColor(cv2.cvtColor(scene.image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2RGB)
    for index, (cell, pixel) in enumerate(zip(cells, scene.explanation.pixels, strict=False)):
        heat = scene.explanation.at_image_size(pixel.weights * pixel.weights.size)
        name = scene.classes.names[pixel.train_id]
        _show(cell, grey, f"{index + 1}: pixel ({pixel.x}, {pixel.y}), {name}")
        _heat(cell, heat)
        _mark(cell, scene.explanation, index)


def _channels(part: Any, cells: list[Any], scene: _Scene) -> None:  # noqa: ANN401
    _heading(
        part,
        "Channel attention: channels before and after (eq. 4); with the class that a channel separates "
        f"best, in standard deviations.  CAM's gamma = {scene.explanation.cam_gamma:.3g}",
    )
    for index, maps in enumerate(scene.explanation.channels):
        channel = maps.channel
        best_class = (
            ""
            if channel.train_id is None
            else f", {scene.classes.names[channel.train_id]} {channel.separation:+.1f}"
        )
        norm = _scale(np.stack([maps.before, maps.after]))  # one scale, so that the two can be compared
        for cell, values, when in (
            (cells[2 * index], maps.before, "before"),
            (cells[2 * index + 1], maps.after, f"after{best_class}"),
        ):
            full = scene.explanation.at_image_size(values)
            _show(cell, full, f"Channel {channel.number} {when}", cmap="viridis", norm=norm)
            _bar(cell, cell.images[-1], "both")


def _heading(part: Any, text: str) -> None:  # noqa: ANN401
    height = part.bbox.height / _DPI
    part.text(_LEFT, 1 - 0.1 / height, text, fontsize=13, fontweight="bold", va="top")


def _show(cell: Any, picture: npt.NDArray[Any], title: str, **style: Any) -> None:  # noqa: ANN401
    cell.imshow(picture, interpolation="antialiased", **style)
    cell.set_title(title, fontsize=11, loc="left", pad=4)


def _scale(values: npt.NDArray[np.float32]) -> Normalize:
    bottom, top = (float(np.percentile(values, part)) for part in (100 - _BRIGHTEST, _BRIGHTEST))
    return Normalize(bottom, top if top > bottom else bottom + 1)


def _heat(cell: Any, values: npt.NDArray[np.float32]) -> None:  # noqa: ANN401
    """Draw weights over the picture, transparent where they are small."""
    norm = LogNorm(_FAINTEST, max(10.0, float(values.max())), clip=True)
    strength = np.asarray(norm(values))
    cell.imshow(strength, cmap=_HEAT, vmin=0, vmax=1, alpha=0.15 + 0.7 * strength, interpolation="nearest")
    _bar(cell, ScalarMappable(norm, _HEAT), "min" if values.min() < _FAINTEST else "neither")


def _bar(cell: Any, shown: Any, extend: str) -> None:  # noqa: ANN401
    place = cell.inset_axes((1.012, 0, 0.022, 1))  # outside, so that all panels stay of one size
    bar = cell.figure.colorbar(shown, cax=place, extend=extend)
    bar.ax.tick_params(labelsize=8, length=2, pad=1.5)


def _mark(cell: Any, explanation: Explanation, index: int) -> None:  # noqa: ANN401
    pixel, color = explanation.pixels[index], _MARKS[index % len(_MARKS)]
    height, width = explanation.labels.shape
    style = {"markersize": 13, "linestyle": "none", "marker": "+"}
    cell.plot(pixel.x, pixel.y, color="black", markeredgewidth=4, **style)
    cell.plot(pixel.x, pixel.y, color=color, markeredgewidth=2, **style)
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
        bbox={"boxstyle": "round,pad=0.15", "facecolor": color, "edgecolor": "black", "linewidth": 0.8},
    )
