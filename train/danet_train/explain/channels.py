"""Channel attention's weights (the paper's eq. 3), and which channels to show."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_LEAST_SHARE = 0.01
"""A class that fills a smaller share of the image is not used to choose a channel."""


def channel_weights(x: Tensor, channel: int) -> Tensor:
    """Return the row of eq. 3's softmax of one channel: its weights on all channels.

    As in both references, the softmax is over the negative products: similar channels weigh least.

    Args:
        x: (1, C, h, w), the input of the attention.
        channel: Number of the channel, 0..C-1.

    Returns:
        (C,), >= 0, sums to 1.
    """
    flat = x.flatten(2)[0]  # (C, N)
    energy = flat @ flat[channel]  # (C,)
    return torch.softmax(energy.amax() - energy, dim=-1)


class Channel(NamedTuple):
    """One channel, and how well it separates a class from the rest.

    Attributes:
        number: Number of the channel, from 0.
        train_id: The class that it separates best among those that the network found; None if it found one
            only.
        separation: Its mean on that class minus its mean elsewhere, in standard deviations of the channel.
    """

    number: int
    train_id: int | None
    separation: float


def separating_channels(maps: Tensor, labels: Tensor, count: int) -> list[Channel]:
    """Return the channels that separate classes best, each a different class.

    Among all pairs of a channel and a class that fills one to 99 percent of the image, the pair of the
    largest separation is taken, then the best pair of another channel and another class, and so on. Where
    the network found one class only, the channels that vary most are taken.

    Args:
        maps: (C, h, w), the output of the attention.
        labels: (h, w), the classes that the network found.
        count: Number of channels wanted; fewer are returned where there are fewer classes.
    """
    classes, separation = _separations(maps, labels)
    if not classes:
        order = maps.flatten(1).std(dim=1, correction=0).argsort(descending=True, stable=True)
        return [Channel(int(index), None, 0.0) for index in order[:count]]
    chosen: list[Channel] = []
    for flat in separation.flatten().argsort(descending=True, stable=True).tolist():
        row, index = divmod(flat, maps.shape[0])
        taken = {(channel.number, channel.train_id) for channel in chosen}
        if not any(index == other or classes[row] == train_id for other, train_id in taken):
            chosen.append(Channel(index, classes[row], float(separation[row, index])))
        if len(chosen) == count:
            break
    return chosen


def describe_channel(maps: Tensor, labels: Tensor, index: int) -> Channel:
    """Return channel ``index`` with the class that it separates best; arguments as above."""
    classes, separation = _separations(maps, labels)
    if not classes:
        return Channel(index, None, 0.0)
    best = int(separation[:, index].argmax())
    return Channel(index, classes[best], float(separation[best, index]))


def _separations(maps: Tensor, labels: Tensor) -> tuple[list[int], Tensor]:
    """Return the classes that are large enough, and the (classes, C) separations."""
    flat, found = maps.flatten(1).double(), labels.flatten()
    spread = flat.std(dim=1, correction=0)
    classes, rows = [], []
    for train_id in torch.unique(found).tolist():
        inside = found == train_id
        if _LEAST_SHARE <= float(inside.double().mean()) <= 1 - _LEAST_SHARE:
            difference = flat[:, inside].mean(dim=1) - flat[:, ~inside].mean(dim=1)
            classes.append(int(train_id))
            rows.append(torch.where(spread > 0, difference / spread, 0.0))
    return classes, torch.stack(rows) if rows else torch.empty(0, maps.shape[0])
