"""Choice of frames: a share for each group, spread over the brightness inside it.

Everything here depends on names, groups and brightness alone, so that the same frames give the same choice
in any folder and in any order of the file system.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Candidate:
    """A frame that may be taken.

    Attributes:
        name: Unique name.
        group: City, folder or sequence of the frame.
        luma: Mean grey level, 0 to 255.
    """

    name: str
    group: str
    luma: float


def group_shares(
    weights: Mapping[str, Fraction | int], count: int, capacity: Mapping[str, int]
) -> dict[str, int]:
    """Divide a count among groups by the method of the largest remainder.

    Args:
        weights: Weight of each group, 0 or more. Without a limit that binds, a group gets its proportional
            part rounded down or up.
        count: Number to be divided; what no group has room for is left over.
        capacity: The most that each group can take. What exceeds it goes to the groups that are furthest
            below their part; equal claims are settled by the groups' names.
    """
    total = sum(weights.values())
    exact = {group: Fraction(weights[group]) * count / total if total else Fraction(0) for group in weights}
    given = {group: min(int(part), capacity[group]) for group, part in exact.items()}
    for _ in range(min(count, sum(capacity[group] for group in weights)) - sum(given.values())):
        open_groups = (group for group in given if given[group] < capacity[group])
        given[min(open_groups, key=lambda group: (given[group] - exact[group], group))] += 1
    return given


def spread_positions(length: int, count: int) -> list[int]:
    """Return ``count`` positions below ``length``, each in the middle of an equal part; all if fewer."""
    count = min(count, length)
    return [(2 * index + 1) * length // (2 * count) for index in range(count)]


def select(
    candidates: Sequence[Candidate], count: int, weights: Mapping[str, Fraction | int] | None = None
) -> list[Candidate]:
    """Take ``count`` of the candidates, or all where there are fewer.

    Inside a group the frames are sorted by brightness and taken from its quantiles.

    Args:
        candidates: Candidates in any order, with different names.
        count: Largest number to take.
        weights: Weight of each group; by default its number of candidates.

    Returns:
        The taken candidates. Every beginning of the list is spread over groups and brightness too, because
        some steps read only the first frames, or measure after 32, 64, ... of them.
    """
    members: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in sorted(candidates, key=lambda candidate: (candidate.luma, candidate.name)):
        members[candidate.group].append(candidate)
    capacity = {group: len(held) for group, held in members.items()}
    claims = {group: capacity[group] if weights is None else weights[group] for group in members}
    placed = []
    for group, share in group_shares(claims, count, capacity).items():
        taken = [members[group][position] for position in spread_positions(capacity[group], share)]
        for turn, index in enumerate(_scattered(share)):
            placed.append((Fraction(2 * turn + 1, 2 * share), group, taken[index]))
    return [candidate for _, _, candidate in sorted(placed, key=lambda entry: entry[:2])]


def presample(groups: Mapping[str, str], count: int) -> list[str]:
    """Take ``count`` names, by the groups' shares and evenly over the sorted names inside each group.

    Args:
        groups: The group of each name.
        count: Largest number to take.

    Returns:
        The names, sorted.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for name in sorted(groups):
        members[groups[name]].append(name)
    sizes = Counter(groups.values())
    shares = group_shares(sizes, count, sizes)
    return sorted(
        names[position]
        for group, names in members.items()
        for position in spread_positions(len(names), shares[group])
    )


def _scattered(count: int) -> list[int]:
    """Return 0 .. count - 1 in the order of the van der Corput sequence: each beginning is spread evenly."""
    inverses = [int(f"{index:b}"[::-1], 2) / (1 << index.bit_length()) for index in range(count)]
    order = [0] * count
    for rank, index in enumerate(sorted(range(count), key=inverses.__getitem__)):
        order[index] = rank
    return order
