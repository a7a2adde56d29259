"""The loop: a source, inference and sinks, each in its own thread, over slots that are allocated once.

::

    source -> [captured: every | latest] -> inference -> [one place a sink] -> sinks
       ^                                        |------> [one place] --------> the caller who iterates
       '---------------- free slots <----------------------------------------------'

Capture takes a free slot and lets the source decode into it, inference adds the labels, every consumer reads
it and the last one frees it. With one place before each consumer, no more than five slots are in use: one in
capture, one captured, one in inference, and two at the slowest consumer (the others hold the same).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType

from danet_runtime.errors import SourceError, UsageError
from danet_runtime.report import Ending, StreamReport
from danet_runtime.result import FrameSlot, Result
from danet_runtime.segmenter import Segmenter
from danet_runtime.sinks.base import Sink, StreamFormat
from danet_runtime.slots import ClosedError, Handover, Policy
from danet_runtime.sources.base import Source
from danet_runtime.timing import LatencyRecorder

logger = logging.getLogger(__name__)

_SLOTS = 5  # see above
_CAPTURE_GRACE_S = 5.0  # a source that does not return by then is given up


class Stream:
    """Segments every frame, or always the latest frame, of a source.

    ::

        with Segmenter("bundle") as segmenter, Stream(segmenter, open_source("drive.mp4")) as stream:
            for result in stream:
                print(result.frame_id, result.age_ms)

    The arrays of a result belong to the stream (see :class:`danet_runtime.result.Result`). The stream takes
    over the source and the sinks and closes them; the segmenter stays the caller's and must outlive it.

    Whatever goes wrong in a thread ends the stream, finishes the sinks (what was written stays usable) and is
    raised in the caller, by the loop, :meth:`run` or the end of the ``with`` block. When the *source* fails,
    the frames before are still segmented and written. Leaving the block early, or an exception in it such as
    ``KeyboardInterrupt``, stops the stream: frames that were captured are finished, nothing new is read.

    Args:
        segmenter: Used from the stream's own thread while the stream runs.
        source: An open source.
        sinks: Opened when the stream starts.
        policy: ``every`` (nothing is lost, the source waits) or ``latest`` (older frames are dropped and
            counted); by default ``latest`` for a live source, else ``every``.
        max_frames: Stop after so many frames were read; by default at the end of the source.

    Raises:
        UsageError: The policy is unknown or ``max_frames`` is below 1.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        source: Source,
        sinks: Sequence[Sink] = (),
        policy: Policy | None = None,
        *,
        max_frames: int | None = None,
    ) -> None:
        if policy not in (None, "every", "latest"):
            raise UsageError(f"policy must be 'every' or 'latest' (got {policy!r})")
        if max_frames is not None and max_frames < 1:
            raise UsageError(f"max_frames must be at least 1 (got {max_frames})")
        self.policy: Policy = policy or ("latest" if source.live else "every")
        self._segmenter = segmenter
        self._source = source
        self._max_frames = max_frames
        self._captured: Handover[FrameSlot] = Handover(1, self.policy)
        self._free: Handover[FrameSlot] = Handover(_SLOTS)
        self._sinks = list(sinks)
        self._sink_places: list[Handover[FrameSlot]] = [Handover(1) for _ in sinks]
        self._caller_place: Handover[FrameSlot] = Handover(1)
        self._latency = LatencyRecorder()

        self._lock = threading.Lock()  # guards everything below, and the slots' reader counts
        self._frames_in = 0
        self._frames_out = 0
        self._first_ns = 0
        self._last_ns = 0
        self._failure: BaseException | None = None
        self._raised = False
        self._stopping = False
        self._reached_limit = False

        self._started = False
        self._joined = False
        self._held: FrameSlot | None = None  # what the caller reads at the moment
        self._capture_thread = _thread("capture", self._capture)
        self._threads = [
            _thread("inference", self._infer),
            *(
                _thread(f"sink-{number}", self._drain, sink, place)
                for number, (sink, place) in enumerate(zip(self._sinks, self._sink_places, strict=True))
            ),
        ]

    @property
    def frames_in(self) -> int:
        """Frames read so far."""
        return self._frames_in

    @property
    def frames_out(self) -> int:
        """Frames segmented and written so far."""
        return self._frames_out

    @property
    def frames_dropped(self) -> int:
        """Frames displaced by newer ones so far."""
        return self._captured.dropped

    def start(self) -> None:
        """Allocate the slots, open the sinks and start the threads; does nothing when called again.

        Raises:
            SinkError: A sink cannot be opened; those that were are closed, and so is the source.
        """
        if self._started:
            return
        self._started = True
        opened: list[Sink] = []
        stream_format = StreamFormat(
            self._source.size_hw, self._source.fps, self._segmenter.classes, self._segmenter.palette
        )
        try:
            for sink in self._sinks:
                sink.open(stream_format)
                opened.append(sink)
            for _ in range(_SLOTS):
                self._free.put(FrameSlot(self._source.size_hw))
        except BaseException:
            self._joined = self._raised = True
            for sink in opened:
                _quietly(sink.close)
            _quietly(self._source.close)
            raise
        for thread in (self._capture_thread, *self._threads):
            thread.start()

    def run(self) -> StreamReport:
        """Run to the end of the source and report.

        Raises:
            DanetError: What ended the stream early; :meth:`report` tells what was done before.
        """
        with self:
            for _ in self:
                pass
        return self.report()

    def stop(self) -> None:
        """End after the frames that were captured already; returns at once, from any thread."""
        with self._lock:
            self._stopping = True
        self._captured.close()
        self._free.abort()

    def close(self) -> None:
        """Stop, finish the sinks and close the source; harmless when called twice."""
        if not self._started:
            self._started = self._joined = True
            self._source.close()
        if self._joined:
            return
        if self._capture_thread.is_alive():
            self.stop()
        self._held = None
        self._caller_place.abort()
        self._join()

    def report(self) -> StreamReport:
        """What was done so far; complete once the stream has ended."""
        with self._lock:
            dropped = self._captured.dropped
            duration_s = max(self._last_ns - self._first_ns, 0) / 1e9 if self._frames_out else 0.0
            return StreamReport(
                frames_in=self._frames_in,
                frames_out=self._frames_out,
                frames_dropped=dropped,
                frames_unfinished=self._frames_in - self._frames_out - dropped,
                ending=self._ending(),
                error=None if self._failure is None else str(self._failure) or type(self._failure).__name__,
                duration_s=duration_s,
                fps=self._frames_out / duration_s if duration_s else 0.0,
                policy=self.policy,
                latency=self._latency.summary(),
                source=self._source.describe(),
                sinks=[sink.describe() for sink in self._sinks],
                bundle={
                    "path": str(self._segmenter.bundle.path),
                    "sha256": self._segmenter.bundle.sha256,
                    "precision": self._segmenter.precision,
                },
                backend=self._segmenter.backend.describe(),
            )

    def __enter__(self) -> Stream:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None:
            self._raise_failure()

    def __iter__(self) -> Iterator[Result]:
        self.start()
        return self

    def __next__(self) -> Result:
        self._release_held()
        try:
            slot = self._caller_place.get()
        except ClosedError:
            self._join()
            self._raise_failure()
            raise StopIteration from None
        self._held = slot
        return slot.result()

    # The threads.

    def _capture(self) -> None:
        try:
            while not self._stopping:
                slot = self._free.get()
                slot.started_ns = time.monotonic_ns()
                info = self._source.read_into(slot.frame)
                if info is None:
                    break
                slot.info = info
                slot.stage_ns[:] = (time.monotonic_ns() - slot.started_ns, 0, 0, 0, 0)
                with self._lock:
                    self._first_ns = self._first_ns or slot.started_ns
                    self._frames_in += 1
                    self._reached_limit = self._frames_in == self._max_frames
                displaced = self._captured.put(slot)
                if displaced is not None:
                    self._free.put(displaced)
                if self._reached_limit:
                    break
        except ClosedError:
            pass  # a later stage has ended
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            self._fail(error)
        finally:
            self._captured.close()  # the frames before are still wanted

    def _infer(self) -> None:
        try:
            while True:
                slot = self._captured.get()
                slot.stage_ns[1:4] = self._segmenter.infer_into(slot.frame, slot.labels)
                self._deliver(slot)
        except ClosedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            self._fail(error)
        finally:
            self._captured.abort()
            self._free.abort()
            for place in (*self._sink_places, self._caller_place):
                place.close()

    def _deliver(self, slot: FrameSlot) -> None:
        slot.writers = len(self._sinks)
        slot.readers = slot.writers + 1
        if not slot.writers:
            with self._lock:
                self._count_out(slot)
        for place in self._sink_places:
            place.put(slot)  # ClosedError: the sink has failed
        with suppress(ClosedError):  # the caller has left; the sinks go on
            self._caller_place.put(slot)

    def _drain(self, sink: Sink, place: Handover[FrameSlot]) -> None:
        try:
            while True:
                slot = place.get()
                started = time.monotonic_ns()
                sink.write(slot.result())
                with self._lock:
                    # Sinks run side by side; the slowest is the one that the frame waited for.
                    slot.stage_ns[4] = max(slot.stage_ns[4], time.monotonic_ns() - started)
                    slot.writers -= 1
                    if not slot.writers:
                        self._count_out(slot)
                self._release(slot)
        except ClosedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            self._fail(error)
            place.abort()
            self._captured.abort()
            self._free.abort()
        finally:
            try:
                sink.close()
            except BaseException as error:  # noqa: BLE001 - raised again in the caller
                self._fail(error)

    # What they share.

    def _count_out(self, slot: FrameSlot) -> None:
        self._last_ns = time.monotonic_ns()
        self._frames_out += 1
        self._latency.add(slot.stage_ns, self._last_ns - slot.started_ns)

    def _release(self, slot: FrameSlot) -> None:
        with self._lock:
            slot.readers -= 1
            is_free = slot.readers == 0
        if is_free:
            with suppress(ClosedError):
                self._free.put(slot)

    def _release_held(self) -> None:
        slot, self._held = self._held, None
        if slot is not None:
            self._release(slot)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
                return
        logger.error("after the failure that ended the stream: %s", error)

    def _raise_failure(self) -> None:
        if self._failure is not None and not self._raised:
            self._raised = True
            raise self._failure

    def _ending(self) -> Ending:
        if self._failure is not None:
            return "failed"
        if self._stopping:
            return "stopped"
        return "frame limit" if self._reached_limit else "source ended"

    def _join(self) -> None:
        if self._joined:
            return
        self._capture_thread.join(_CAPTURE_GRACE_S)
        is_stuck = self._capture_thread.is_alive()
        if is_stuck:  # its thread is a daemon; closing what it reads from would not be safe
            self._fail(
                SourceError(f"the source did not return within {_CAPTURE_GRACE_S:.0f} s and was given up")
            )
        for thread in self._threads:
            thread.join()
        self._joined = True
        if not is_stuck:
            try:
                self._source.close()
            except BaseException as error:  # noqa: BLE001 - raised again in the caller
                self._fail(error)


def _thread(name: str, target: Callable[..., None], *arguments: object) -> threading.Thread:
    return threading.Thread(target=target, args=arguments, name=f"danet-{name}", daemon=True)


def _quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except Exception as error:  # noqa: BLE001 - another error is on its way to the caller
        logger.error("while cleaning up: %s", error)
