"""Effect of one camera's damaged frames on the health."""

from __future__ import annotations

from collections.abc import Mapping

from danet_runtime.clock import now_ns
from danet_runtime.sources.protocol.abilities import damage_of
from danet_runtime.sources.protocol.damage import DamageReason
from danet_runtime.sources.protocol.source import Source
from danet_runtime.stream.state.context import StreamContext

_REPORTED_AGAIN_NS = 1_000_000_000
"""Counts that grow make no event of the health more often than so."""


class DamageCheck:
    """Watches the count of a source that has one; used from the capture thread and the watchdog.

    Args:
        name: Name of the camera.
        source: Source of the camera, which may count damaged frames itself
            (:class:`danet_runtime.sources.protocol.abilities.CountsDamage`).
        context: Shared state of the stream; its health is updated.
    """

    def __init__(self, name: str, source: Source, context: StreamContext) -> None:
        self._name = name
        self._count = damage_of(source)
        self._health = context.health
        self._shown_ns = int(context.options.damage_shown_s * 1e9)
        self._before: Mapping[DamageReason, int] = {}
        self._reported_ns = 0
        self._shows = False

    @property
    def counts(self) -> Mapping[DamageReason, int]:
        """Damaged frames by reason, over all openings."""
        return {} if self._count is None else self._count.counts

    @property
    def silent_s(self) -> float:
        """Seconds since the last damaged frame; without end where none came."""
        last = 0 if self._count is None else self._count.last_ns
        return (now_ns() - last) / 1e9 if last else float("inf")

    def look(self) -> None:
        """Say whether damaged frames came of late, and how many."""
        if self._count is None or not (last := self._count.last_ns):
            return
        now = now_ns()
        key = f"{self._name}.damage"
        if now - last > self._shown_ns:
            if self._shows:
                self._shows = False
                self._before = self._count.counts
                self._health.clear(key)
            return
        if self._shows and now - self._reported_ns < _REPORTED_AGAIN_NS:
            return
        self._reported_ns, self._shows = now, True
        since = {reason: count - self._before.get(reason, 0) for reason, count in self._count.counts.items()}
        by_reason = ", ".join(f"{count} {reason}" for reason, count in since.items() if count)
        self._health.set(key, "degraded", f"{self._name} sends damaged frames ({by_reason})")
