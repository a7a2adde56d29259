"""The fewest layers that must stay in floating point, found with few measurements.

A measurement is a pass over all labelled frames, so each counts. The functions know nothing of models: they
get a ranking and a function that tests a selection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

GIVE_BACK_TRIES = 8
"""Most layers that :func:`give_back` tries, one measurement each."""

Item = TypeVar("Item")


def fewest(ranked: Sequence[Item], holds: Callable[[Sequence[Item]], bool]) -> list[Item] | None:
    """Return the shortest beginning of a ranking for which ``holds`` is true.

    The length is doubled until it holds and then bisected: about 2 log2(n) questions. The result did hold
    when asked; it is the shortest where no beginning that holds is followed by one that does not.

    Args:
        ranked: Items, the worst first.
        holds: Called with a beginning of ``ranked``, never with an empty one.

    Returns:
        The beginning, or None where not even the whole ranking does.
    """
    low, high = 0, min(1, len(ranked))  # low does not hold, high is asked
    while high and not holds(ranked[:high]):
        if high == len(ranked):
            return None
        low, high = high, min(2 * high, len(ranked))
    if not high:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if holds(ranked[:middle]):
            high = middle
        else:
            low = middle
    return list(ranked[:high])


def within(ranked: Sequence[Item], left: Callable[[Sequence[Item]], float], least: float) -> list[Item]:
    """Return the items of a ranking that may be taken together, the worst first.

    An item that would leave too little is passed over; those behind it may be enough.

    Args:
        ranked: Items, the worst first.
        left: Returns the share that is left when the given items are taken.
        least: Least share that must be left; it must be more than 0 in any case.
    """
    taken: list[Item] = []
    for item in ranked:
        share = left([*taken, item])
        if share > 0 and share >= least:
            taken.append(item)
    return taken


def give_back(
    chosen: Sequence[Item], holds: Callable[[Sequence[Item]], bool], tries: int = GIVE_BACK_TRIES
) -> list[Item]:
    """Remove single items where ``holds`` is true without them.

    A ranking by single effects puts a layer before the one that matters when their effects overlap; such a
    layer is found here. The last item is not tried: :func:`fewest` has asked that already.

    Args:
        chosen: Result of :func:`fewest`, the worst first.
        holds: Called with a selection, as in :func:`fewest`.
        tries: Largest number of calls of ``holds``, from the end of ``chosen`` on.

    Returns:
        ``chosen`` without the items that were not needed, in the same order.
    """
    kept = list(chosen)
    for item in list(chosen[:-1])[::-1][:tries]:
        without = [other for other in kept if other is not item]
        if holds(without):
            kept = without
    return kept
