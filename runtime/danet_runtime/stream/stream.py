"""The loop: cameras, one model and sinks, each in its own thread, over slots that are allocated once.

::

    camera -> [its place: every | latest] -> inference, the cameras in turn -> [one place a sink] -> sinks
       ^                                                              |-----> [one place] -> the caller
       '------------------------- free slots <------------------------------------'

A watchdog looks at all of them, and :class:`danet_runtime.results.health.Health` says what it and they have
seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType

from danet_runtime.inference.segmenter import Segmenter
from danet_runtime.results.health import Health, Listener
from danet_runtime.results.result import Result
from danet_runtime.sinks.protocol.sink import Sink
from danet_runtime.stream.arguments import SourceOrName, opened_sources
from danet_runtime.stream.loop import Loop
from danet_runtime.stream.report import StreamReport
from danet_runtime.stream.state.options import StreamOptions
from danet_runtime.stream.state.slots import ClosedError, Policy
from danet_runtime.stream.turns import Turns


class Stream:
    """Segments every frame, or always the latest frame, of one or more cameras.

    ::

        with Segmenter("bundle") as segmenter, Stream(segmenter, "drive.mp4") as stream:
            for result in stream:
                print(result.frame_id, result.age_ms, result.areas())

    A result is the caller's own, unless ``StreamOptions(copy=False)`` asks for views of the stream's arrays
    (see :class:`danet_runtime.results.result.Result`). The stream takes over the sources and the sinks and
    closes them; the segmenters stay the caller's and must outlive it.

    What ends a stream: its sources have ended, :meth:`stop`, leaving the ``with`` block, or a failure. A
    failure is raised in the caller, by the loop, :meth:`run` or the end of the block, after the sinks were
    finished (what was written stays usable):

    - of the model: a file's first, a live source's after several in a row, or one that the backend calls
      final; an inference that hangs is a fault, and its thread is given up;
    - of a source: the frames before are still segmented and written, other cameras go on, and the health says
      which one is lost. A live source that can be opened again is, without end, unless the options say
      otherwise;
    - of a sink: the other sinks and the caller go on; a file all of whose sinks are lost is read no further.

    Where several things fail the first is raised, unless a later one is a fault, which asks for a restart.

    Any thread may call any method at any time, also a sink, a callback, a listener and a signal handler. One
    loop at a time takes the results. A stream that nobody holds any more is closed, by a thread of its own;
    a sink or a listener that refers to the stream holds it.

    Args:
        segmenters: One segmenter, or several with the same classes, from the best to the fastest. With
            several and a deadline, the stream steps down after sustained misses, and up again later.
        sources: A source, or several by name: they share the model in turn, and every result says whose it
            is. Each is open, or the text that names it (see :func:`danet_runtime.open_source`).
        sinks: Sinks of the source, or of each camera by name; opened when the stream starts.
        policy: ``every`` (nothing is lost, the source waits) or ``latest`` (older frames are dropped and
            counted); by default ``latest`` for a live source, else ``every``.
        max_frames: Number of frames to read of each camera; by default all.
        options: Times and limits.
        listeners: Called with every change of the health, from a thread of their own.

    Raises:
        UsageError: The arguments contradict each other, or a text names no source.
        SourceError: A source that a text names cannot be read.

    Attributes:
        health: The state and its reasons.
    """

    def __init__(
        self,
        segmenters: Segmenter | Sequence[Segmenter],
        sources: SourceOrName | Mapping[str, SourceOrName],
        sinks: Sequence[Sink] | Mapping[str, Sequence[Sink]] = (),
        policy: Policy | None = None,
        *,
        max_frames: int | None = None,
        options: StreamOptions | None = None,
        listeners: Iterable[Listener] = (),
    ) -> None:
        with opened_sources(sources, segmenters) as held:
            self._loop = Loop(segmenters, held, sinks, policy, max_frames, options, listeners)
        self._copy = (options or StreamOptions()).copy
        self.policy: Policy = self._loop.policy
        self.health: Health = self._loop.health
        self._turns = Turns(self._loop.take)
        weakref.finalize(self, self._loop.abandon).atexit = False

    @property
    def frames_in(self) -> int:
        """Frames read so far."""
        return self._loop.frames_in

    @property
    def frames_out(self) -> int:
        """Frames segmented and written so far."""
        return self._loop.frames_out

    @property
    def frames_dropped(self) -> int:
        """Frames displaced by newer ones so far."""
        return self._loop.frames_dropped

    def start(self) -> None:
        """Allocate the slots, open the sinks and start the threads; does nothing while the stream runs.

        Where :meth:`stop` came before, nothing is opened, and the stream has ended.

        Raises:
            SinkError: A sink cannot be opened; those that were are closed, and so are the sources.
            UsageError: The stream is closed, or its start failed.
        """
        self._loop.start()

    def run(self) -> StreamReport:
        """Run to the end of the sources and report.

        Raises:
            DanetError: The error that ended the stream early; :meth:`report` covers the time before it.
        """
        with self:
            for _ in _Results(partial(self._next, copy=False), self._turns.begin()):
                pass
        return self.report()

    def latest(self, max_age_ms: float, camera: str | None = None) -> Result | None:
        """Return the newest result as a copy that the caller owns; ``None`` if none is new enough.

        Args:
            max_age_ms: Older masks are not given out.
            camera: Name of the camera; by default the first.

        Raises:
            UsageError: There is no such camera.
        """
        return self._loop.latest(max_age_ms, camera)

    def stop(self) -> None:
        """End after the frames that were captured already; returns at once, from any thread."""
        self._loop.stop()

    def close(self) -> None:
        """Stop, finish the sinks and close the sources; harmless when called again, from any thread.

        Whoever calls waits until all is closed. A thread of the stream, as one that runs a sink or a
        listener, would wait for itself: there it returns at once, and another thread closes. So it does in
        the handler of a signal that came while its thread was inside the stream, as in the loop.
        """
        self._loop.close()

    def report(self) -> StreamReport:
        """Return the report up to now, at any time; it is complete once the stream has ended."""
        return self._loop.report()

    def __enter__(self) -> Stream:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None:
            self._loop.raise_failure()

    def __iter__(self) -> Iterator[Result]:
        if not self._loop.life.was_started:
            self.start()
        return _Results(partial(self._next, copy=self._copy), self._turns.begin())

    def __next__(self) -> Result:
        if not self._loop.life.was_started:
            self.start()
        return self._next(self._turns.newest, copy=self._copy)

    def _next(self, turn: int, *, copy: bool) -> Result:
        try:
            with self._loop.life.calling():
                return self._turns.next(turn, copy=copy)
        except ClosedError:
            self._loop.finish()
            self._loop.raise_failure()
            raise StopIteration from None


class _Results:
    """One loop over a stream; holds the stream."""

    def __init__(self, take: Callable[[int], Result], turn: int) -> None:
        self._take = take
        self._turn = turn

    def __iter__(self) -> _Results:
        return self

    def __next__(self) -> Result:
        return self._take(self._turn)
