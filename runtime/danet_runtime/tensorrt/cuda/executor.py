"""Frames through a GPU over several slots: upload, inference and download side by side.

Three streams, and per slot memory on both sides and events::

    upload    | copy 1 | copy 2 |          | copy 3 |
    compute            | infer 1          | infer 2          |
    download                              | copy 1 |          | copy 2 |

Compute waits for the slot's upload, download for the slot's inference, both by events on the GPU; the host
waits for one event alone, the last one of the slot that it collects. That wait also makes the slot's memory
free to be used again, so that nothing else must be ordered. The model knows each slot's addresses from the
start, and no others.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from danet_runtime.errors import BackendError, FaultError, FrameError, UsageError
from danet_runtime.frames.arrays import UInt8Array, check_buffer, fault_of_target
from danet_runtime.frames.device_arrays import DeviceArray, DeviceLabels
from danet_runtime.tensorrt.cuda.device_arrays import DeviceMemory, device_memory
from danet_runtime.tensorrt.cuda.executor_slot import Bind, Slot
from danet_runtime.tensorrt.cuda.graph import capture_each
from danet_runtime.tensorrt.cuda.host_buffers import HostBuffers
from danet_runtime.tensorrt.cuda.labels_pool import LabelsPool
from danet_runtime.tensorrt.cuda.session import CudaSession
from danet_runtime.tensorrt.cuda.transfers import Transfers
from danet_runtime.timing import DeviceTimes

logger = logging.getLogger(__name__)

CLOSE_GRACE_S: Final = 2.0

_OTHER_CONTEXT: Final = (
    "{} in another CUDA context than the engine, whose memory that one's kernels cannot reach; give "
    "Segmenter.infer_into labels of your own in that context, or work in the primary one, as with "
    "pycuda.autoprimaryctx"
)


class Executor:
    """Runs one model on the first visible GPU; the same over TensorRT, the exported kernels, or PyTorch.

    Any thread submits, one at a time, and any collects; :meth:`close` may come from any, too.

    Args:
        session: The GPU in use; the executor owns it from here on.
        bind: Makes the model ready for the addresses of a slot; called here, once a slot. What it returns is
            called in the thread that submits. Both have the session's context current.
        frame_shape: (1, H, W, 3).
        labels_shape: (1, H, W).
        depth: Most frames that may be in flight.
        graph: Capture each slot's enqueue in a CUDA graph, whose addresses are frozen. Where
            that fails, it is enqueued each time; said once in the log, and in :attr:`graph`.
        release: Frees the model; called before the session is closed.

    Raises:
        BackendError: Not enough memory, or the model does not run.
        FaultError: The GPU is lost.
        UsageError: ``depth`` is below 1.

    Attributes:
        depth: Most frames that may be in flight.
        graph: ``captured``, ``off``, or why it could not be captured.
    """

    def __init__(
        self,
        session: CudaSession,
        bind: Bind,
        frame_shape: tuple[int, ...],
        labels_shape: tuple[int, ...],
        *,
        depth: int = 2,
        graph: bool = True,
        release: Callable[[], None] | None = None,
    ) -> None:
        if depth < 1:
            raise UsageError(f"depth must be at least 1 (got {depth})")
        self.depth = depth
        self.graph = "off"
        self.frame_shape = frame_shape
        self.labels_shape = labels_shape
        self._session = session
        self._buffers = HostBuffers(session)
        self._pool = LabelsPool(session, labels_shape, self._is_usable, self._running)
        self._bind = bind
        self._release = release
        self._submits = threading.Lock()  # what is enqueued of one frame stands together in the streams
        self._changed = threading.Condition()  # guards everything below
        self._inside = 0
        self._closed = False
        self._fault: FaultError | None = None
        self._next_ticket = 0
        self._flying: dict[int, Slot] = {}
        self._free: deque[Slot] = deque()
        self._slots: list[Slot] = []
        try:
            with self._running():
                self._transfers = Transfers(session, self._buffers, self._pool)
                self._computes = session.make_stream()
                sizes = int(np.prod(frame_shape)), int(np.prod(labels_shape))
                self._slots.extend(Slot(session, *sizes, bind) for _ in range(depth))
                if graph:
                    self.graph = capture_each(session, self._computes, self._slots, self._run_model)
                self._free.extend(self._slots)
        except BaseException:
            self.close()
            raise

    def pin(self, *buffers: UInt8Array) -> None:
        """Lock the pages of frames or labels on the host that will be used again and again.

        The GPU then copies from and to them by itself; any other array is copied on the host as well, through
        pinned memory of the executor's own. Where the driver refuses, :attr:`host_copies` says why.

        Args:
            buffers: Each with pages of its own (:func:`danet_runtime.frames.arrays.page_aligned`); kept
                alive.

        Raises:
            BackendError: The executor is closed.
            FaultError: The GPU is lost.
        """
        with self._running():
            for buffer in buffers:
                self._buffers.pin(buffer)

    def unpin(self, *buffers: UInt8Array) -> None:
        """Unlock what :meth:`pin` locked; nothing may be in flight with it. :meth:`close` does it for all.

        Raises:
            FaultError: The GPU is lost.
        """
        with self._changed:
            if self._closed:
                return
        with self._running():
            for buffer in buffers:
                self._buffers.unpin(buffer)

    @property
    def host_copies(self) -> str:
        """``none`` where buffers were locked, else why frames and labels are copied on the host as well."""
        if self._buffers.refused is not None:
            return self._buffers.refused
        return "none" if len(self._buffers) else "no buffer was locked"

    def make_labels(self) -> DeviceLabels:
        """Memory on the GPU for the labels of one frame, to hand to :meth:`submit`.

        Raises:
            FrameError: The calling thread works in another context, whose kernels could not read them.
            BackendError: There is not enough memory, or the executor is closed.
            FaultError: The GPU is lost.
        """
        with self._changed:
            self._require_usable()
        current = int(self._session.call("cuCtxGetCurrent"))
        if current not in (0, self._session.context):
            raise FrameError(_OTHER_CONTEXT.format("the calling thread works"))
        with self._running():
            return self._pool.take()

    def submit(self, frame: UInt8Array | DeviceArray, labels: UInt8Array | DeviceArray) -> int:
        """Begin with a frame; waits for nothing.

        Args:
            frame: (1, H, W, 3) uint8, C-contiguous, unchanged until it is collected. One that is on the GPU
                (see :mod:`danet_runtime.tensorrt.cuda.device_arrays`) is copied there, to where the model
                reads it.
            labels: (1, H, W) uint8, C-contiguous, on the host or on the GPU, written until it is collected;
                no memory of the frame's.

        Returns:
            A ticket to collect with.

        Raises:
            FrameError: The frame or the labels are another library's array that does not fit.
            BackendError: An array of the host does not fit, or the driver or the model refuses; nothing is in
                flight of this frame.
            FaultError: The GPU is lost; so is everything in flight.
            UsageError: All slots are in flight.
        """
        with self._running(), self._submits:
            source, target = self._taken(frame, labels)
            slot = self._take_free()
            try:
                slot.target = target
                self._start(slot, source)
            except FaultError:
                raise
            except BaseException:
                self._settle(slot)
                raise
            with self._changed:
                self._flying[slot.ticket] = slot
            return slot.ticket

    def collect(self, ticket: int) -> DeviceTimes:
        """Wait until a frame's labels are in their array, and for nothing else.

        Args:
            ticket: Ticket that :meth:`submit` returned; tickets may be collected in any order.

        Raises:
            BackendError: The inference failed.
            FaultError: The GPU is lost.
            UsageError: Nothing is in flight with this ticket.
        """
        with self._running(), self._finished(ticket) as slot:
            held = slot.guest, slot.target
            if isinstance(slot.target, np.ndarray) and not self._buffers.holds(slot.target):
                slot.target.reshape(-1)[:] = slot.labels.array
            times = slot.times(self._session)
        del held  # not before: their library may free them, in the context that is current then
        return times

    def close(self) -> None:
        """Free everything; harmless when called twice; raises nothing and never hangs.

        Where the GPU is lost, or it or a thread inside does not come back within two seconds, the memory and
        the model are left to the end of the process: freeing them would fail, or wait without end.
        """
        with self._changed:
            if self._closed:
                return
            self._closed = True
            usable = self._changed.wait_for(lambda: self._inside == 0, CLOSE_GRACE_S) and self._fault is None
        is_idle = usable and self._session.is_idle(CLOSE_GRACE_S)
        enqueues = [slot.enqueue for slot in self._slots]
        with self._changed:  # slots hold guests, and labels that nobody collected
            for slots in (self._flying, self._free, self._slots):
                slots.clear()
        if is_idle:
            with contextlib.suppress(BackendError), self._session.active():
                for free in (self._release, self._buffers.unpin_all, self._pool.close):
                    try:
                        if free is not None:
                            free()
                    except Exception as error:  # noqa: BLE001 - while closing; it must hide no other error
                        logger.warning("while freeing the model: %s", error)
            self._session.close()
        else:
            logger.error("the GPU is lost or does not answer; its memory is left to the end of the process")
            # A model's destructor calls the driver, which may never return: it must not be run, not even at
            # the interpreter's end.
            for kept in (self._bind, self._release, *enqueues):
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
            self._session.abandon()

    # What is enqueued.

    def _taken(
        self, frame: UInt8Array | DeviceArray, labels: UInt8Array | DeviceArray
    ) -> tuple[UInt8Array | DeviceMemory, UInt8Array | DeviceMemory]:
        """Frame and labels, checked; what is on the GPU as memory for the streams that read and write it."""
        source: UInt8Array | DeviceMemory
        target: UInt8Array | DeviceMemory
        if isinstance(labels, np.ndarray):
            check_buffer("labels", labels, self.labels_shape)
            fault = fault_of_target("labels", labels, frame if isinstance(frame, np.ndarray) else None)
            if fault is not None:
                raise BackendError(fault)
            target = labels
        else:
            downloads = self._transfers.downloads
            target = device_memory(labels, "labels", self.labels_shape, self._session, downloads)
        if isinstance(frame, np.ndarray):
            check_buffer("frame", frame, self.frame_shape)
            return frame, target
        source = device_memory(frame, "frame", self.frame_shape, self._session, self._transfers.uploads)
        if isinstance(target, DeviceMemory):
            sizes = int(np.prod(self.frame_shape)), int(np.prod(self.labels_shape))
            if source.overlaps(sizes[0], target, sizes[1]):
                raise FrameError("labels share memory with the frame; give other memory")
            if source.context is not None and isinstance(labels, DeviceLabels):
                raise FrameError(_OTHER_CONTEXT.format("the frame is"))
        return source, target

    def _start(self, slot: Slot, source: UInt8Array | DeviceMemory) -> None:
        call = self._session.call
        self._transfers.upload(slot, source)
        call("cuStreamWaitEvent", self._computes, slot.uploaded, 0)
        call("cuEventRecord", slot.inference_began, self._computes)
        if slot.graph is not None:
            call("cuGraphLaunch", slot.graph, self._computes)
        else:
            self._run_model(slot, self._computes)
        call("cuEventRecord", slot.inferred, self._computes)
        self._transfers.download(slot)

    def _run_model(self, slot: Slot, stream: int) -> None:
        try:
            slot.enqueue(stream)
        except FaultError:
            raise
        except Exception as error:
            self._session.raise_if_lost()  # a model says it in its own words, if at all
            if isinstance(error, BackendError):
                raise
            raise BackendError(f"the model failed: {error}") from error

    # Slots.

    def _take_free(self) -> Slot:
        with self._changed:
            if not self._free:
                raise UsageError(f"all {self.depth} slots are in flight; collect one before the next submit")
            slot = self._free.popleft()
            slot.ticket = self._next_ticket
            self._next_ticket += 1
            return slot

    @contextlib.contextmanager
    def _finished(self, ticket: int) -> Iterator[Slot]:
        """Yield the slot of a ticket when its work is done; it is free again afterwards."""
        with self._changed:
            slot = self._flying.get(ticket)
            if slot is None:
                raise UsageError(
                    f"nothing is in flight with the ticket {ticket}; it was collected, or never was"
                )
            del self._flying[ticket]
        try:
            self._session.call("cuEventSynchronize", slot.downloaded)
            yield slot
        except FaultError:
            raise
        except BaseException:
            self._settle(slot)
            raise
        slot.guest = slot.target = None
        with self._changed:
            self._free.append(slot)

    def _settle(self, slot: Slot) -> None:
        """After a failure: nothing of the slot may be under way when it is used again."""
        for stream in (self._transfers.uploads, self._computes, self._transfers.downloads):
            try:
                self._session.call("cuStreamSynchronize", stream)
            except FaultError as error:
                self._note(error)
                return
            except BackendError as error:
                logger.warning("after a failed frame: %s", error)
        slot.guest = slot.target = None
        with self._changed:
            self._free.append(slot)

    # States.

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Inside, the executor is open, its context current, and a lost GPU is remembered."""
        with self._changed:
            self._require_usable()
            self._inside += 1
        try:
            with self._session.active():
                yield
        except FaultError as error:
            self._note(error)
            raise
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def _require_usable(self) -> None:
        if self._fault is not None:
            raise self._fault.with_traceback(None)
        if self._closed:
            raise BackendError("the executor is closed; open another")

    def _is_usable(self) -> bool:
        return not self._closed and self._fault is None

    def _note(self, fault: FaultError) -> None:
        with self._changed:
            if self._fault is None:
                self._fault = fault
                logger.error("%s", fault)
