"""Coverage of a calibration set: groups, brightness, shapes, and what it lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

LUMA_BINS = 8
"""Equal bins of the mean grey level from 0 to 255."""

ASPECT_TOLERANCE = 0.02
"""A frame whose width to height differs from the bundle's by more than this part of it is stretched."""

FEW_FRAMES = 32

LEAST_DISTINCT_SHARE = 0.5
"""Least share of different frames in those looked at; a folder with less is a film of few scenes, and the
coverage says so."""

DARK_BELOW = 48.0
"""Mean grey level of night and tunnels; Cityscapes' days begin at about 50."""

_NAMED = 5


@dataclass(frozen=True)
class GroupCoverage:
    """One city, folder or sequence.

    Attributes:
        name: Name of the group; empty for the folder itself.
        found: Number of frames in the group.
        used: Number of its frames in the set.
    """

    name: str
    found: int
    used: int


@dataclass(frozen=True)
class SetCoverage:
    """Coverage of the folder by the set that was chosen from it.

    Attributes:
        found: Number of frames in the folder.
        examined: Number of frames that were looked at: all, or an even sample of a large folder.
        distinct: Number of examined frames that show another scene than all before.
        used: Number of frames in the set.
        groups: Each city, folder or sequence, by name.
        luma_examined: Number of examined frames in each of ``LUMA_BINS`` bins of the mean grey level.
        luma_used: The same for the frames of the set.
        sizes: Each height and width in the set with its count, largest count first.
        frame_hw: Size of the bundle's frame; None where it is not known.
        resized: Number of frames of another size; None where the bundle's frame is not known.
        aspect_changed: Number of those that the resize stretches by more than ``ASPECT_TOLERANCE``.
        thin: A sentence for each thing that the set lacks.
        left_out: The other files of the folder, counted and named; None where there are none.
    """

    found: int
    examined: int
    distinct: int
    used: int
    groups: tuple[GroupCoverage, ...]
    luma_examined: tuple[int, ...]
    luma_used: tuple[int, ...]
    sizes: tuple[tuple[tuple[int, int], int], ...]
    frame_hw: tuple[int, int] | None
    resized: int | None
    aspect_changed: int | None
    thin: tuple[str, ...]
    left_out: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the values for JSON, under the names of the attributes."""
        return {
            **asdict(self),
            "groups": {group.name: {"found": group.found, "used": group.used} for group in self.groups},
            "luma_examined": list(self.luma_examined),
            "luma_used": list(self.luma_used),
            "sizes": [{"size_hw": list(size_hw), "frames": count} for size_hw, count in self.sizes],
            "frame_hw": None if self.frame_hw is None else list(self.frame_hw),
            "thin": list(self.thin),
        }


@dataclass(frozen=True)
class UsedFrame:
    """Group, mean grey level, and height and width of a frame of the set."""

    group: str
    luma: float
    size_hw: tuple[int, int]


def describe_set(
    found: Mapping[str, int],
    lumas: Sequence[float],
    distinct: int,
    used: Sequence[UsedFrame],
    frame_hw: tuple[int, int] | None,
    left_out: str | None = None,
) -> SetCoverage:
    """Describe the coverage of a set.

    Args:
        found: Number of frames of each group.
        lumas: Mean grey level of each frame that was examined.
        distinct: Number of examined frames that differ from each other.
        used: The frames of the set.
        frame_hw: Size of the bundle's frame, where it is known.
        left_out: The other files of the folder, counted and named.
    """
    in_set = Counter(frame.group for frame in used)
    sizes = Counter(frame.size_hw for frame in used)
    resized = aspect_changed = None
    if frame_hw is not None:
        resized = sum(count for size_hw, count in sizes.items() if size_hw != frame_hw)
        aspect_changed = sum(count for size_hw, count in sizes.items() if is_stretched(size_hw, frame_hw))
    groups = tuple(GroupCoverage(name, found[name], in_set[name]) for name in sorted(found))
    thin = [*_thin_groups(groups), *_thin_light(lumas, [frame.luma for frame in used])]
    if len(used) < FEW_FRAMES:
        thin.append(f"{len(used)} frames are few; {FEW_FRAMES} or more are usual")
    if distinct < LEAST_DISTINCT_SHARE * len(lumas):
        thin.append(
            f"{len(lumas) - distinct} of the {len(lumas)} frames looked at show nearly the same as another "
            f"and were left out: the set was thinned to the {distinct} that differ"
        )
    if aspect_changed and frame_hw is not None:
        thin.append(
            f"{aspect_changed} of {len(used)} frames are stretched: their width to height is not that of the "
            f"bundle's frame, {frame_hw[0]}x{frame_hw[1]} (height x width)"
        )
    return SetCoverage(
        found=sum(found.values()),
        examined=len(lumas),
        distinct=distinct,
        used=len(used),
        groups=groups,
        luma_examined=luma_histogram(lumas),
        luma_used=luma_histogram([frame.luma for frame in used]),
        sizes=tuple(sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0]))),
        frame_hw=frame_hw,
        resized=resized,
        aspect_changed=aspect_changed,
        thin=tuple(thin),
        left_out=left_out,
    )


def luma_histogram(lumas: Sequence[float]) -> tuple[int, ...]:
    """Count the mean grey levels, 0 to 255, in each of ``LUMA_BINS`` equal bins."""
    bins = Counter(int(luma * LUMA_BINS / 256) for luma in lumas)
    return tuple(bins[index] for index in range(LUMA_BINS))


def is_stretched(size_hw: tuple[int, int], frame_hw: tuple[int, int]) -> bool:
    """Whether a frame must change its width to height by more than ``ASPECT_TOLERANCE`` to fit another."""
    ratio = (size_hw[1] * frame_hw[0]) / (size_hw[0] * frame_hw[1])
    return max(ratio, 1 / ratio) > 1 + ASPECT_TOLERANCE


def _thin_groups(groups: Sequence[GroupCoverage]) -> list[str]:
    if len(groups) == 1:
        return ["all frames are of one group (folder, city or sequence): other places are not covered"]
    missing = [group.name or "the folder itself" for group in groups if not group.used]
    if not missing:
        return []
    names = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
    return [f"{len(missing)} of {len(groups)} groups have no frame in the set: {names}"]


def _thin_light(lumas: Sequence[float], used: Sequence[float]) -> list[str]:
    thin = []
    if used and min(used) >= DARK_BELOW:
        thin.append(
            f"no frame is dark (mean grey level under {DARK_BELOW:.0f}): night and tunnels are not covered"
        )
    width = 256 // LUMA_BINS
    for index, (examined, taken) in enumerate(zip(luma_histogram(lumas), luma_histogram(used), strict=True)):
        if examined and not taken:
            thin.append(
                f"no frame of mean grey level {index * width} to {(index + 1) * width - 1} is in the set; "
                f"{examined} of the {len(lumas)} frames looked at are"
            )
    return thin
