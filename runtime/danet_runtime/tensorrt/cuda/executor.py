"""Frames through a GPU over several slots: upload, inference and download side by side.

Three streams, and per slot memory on both sides and events::

    upload    | copy 1 | copy 2 |          | copy 3 |
    compute            | infer 1          | infer 2          |
    download                              | copy 1 |          | copy 2 |

Compute waits for the slot's upload, download for the slot's inference, both by events on the GPU; the host
waits for one event alone, the last one of the slot that it collects. That wait also makes the slot's memory
free to be used again, so that nothing else must be ordered.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from danet_runtime.errors import BackendError, FaultError, UsageError
from danet_runtime.frames.arrays import UInt8Array, check_buffer, fault_of_target
from danet_runtime.tensorrt.cuda.device_arrays import DeviceFrame, DeviceLabels, device_frame
from danet_runtime.tensorrt.cuda.executor_slot import Enqueue, Slot
from danet_runtime.tensorrt.cuda.graph import capture_each
from danet_runtime.tensorrt.cuda.host_buffers import HostBuffers, address_of
from danet_runtime.tensorrt.cuda.session import CudaSession
from danet_runtime.timing import DeviceTimes

logger = logging.getLogger(__name__)

CLOSE_GRACE_S: Final = 2.0


class Executor:
    """Runs one model on the first visible GPU; the same over TensorRT, the exported kernels, or PyTorch.

    Any thread submits, one at a time, and any collects; :meth:`close` may come from any, too.

    Args:
        session: The GPU in use; the executor owns it from here on.
        enqueue: The model; called in the thread that submits, with the session's context current.
        frame_shape: (1, H, W, 3).
        labels_shape: (1, H, W).
        depth: How many frames may be in flight.
        graph: Capture the enqueue in a CUDA graph, one a slot, since a graph's addresses are frozen. Where
            that fails, it is enqueued each time; said once in the log, and in :attr:`graph`.
        release: Frees the model; called before the session is closed.

    Raises:
        BackendError: Not enough memory, or the model does not run.
        FaultError: The GPU is lost.
        UsageError: ``depth`` is below 1.

    Attributes:
        depth: How many frames may be in flight.
        graph: ``captured``, ``off``, or why it could not be captured.
    """

    def __init__(
        self,
        session: CudaSession,
        enqueue: Enqueue,
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
        self._enqueue = enqueue
        self._release = release
        self._submits = threading.Lock()  # what is enqueued of one frame stands together in the streams
        self._changed = threading.Condition()  # guards everything below
        self._inside = 0
        self._closed = False
        self._fault: FaultError | None = None
        self._next_ticket = 0
        self._flying: dict[int, Slot] = {}
        self._free: deque[Slot] = deque()
        try:
            with self._running():
                self._uploads, self._computes, self._downloads = (session.make_stream() for _ in range(3))
                sizes = int(np.prod(frame_shape)), int(np.prod(labels_shape))
                self._free.extend(Slot(session, *sizes) for _ in range(depth))
                if graph:
                    self.graph = capture_each(session, self._computes, self._free, self._run_model)
        except BaseException:
            self.close()
            raise

    def pin(self, *buffers: UInt8Array) -> None:
        """Lock the pages of frames or labels on the host that will be used again and again.

        The GPU then copies from and to them by itself; any other array is copied on the host as well, through
        pinned memory of the executor's own. Where the driver refuses, :attr:`host_copies` says why.

        Args:
            buffers: Each with pages of its own (:func:`danet_runtime.frames.host_memory.page_aligned`); kept
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

    def submit(self, frame: Any, labels: UInt8Array | None) -> int:  # noqa: ANN401 - of whichever library
        """Begin with a frame; waits for nothing.

        Args:
            frame: (1, H, W, 3) uint8, C-contiguous, unchanged until it is collected. One that is on the GPU
                (see :mod:`danet_runtime.tensorrt.cuda.device_arrays`) is read in place where no graph was
                captured, and copied on the GPU into the graph's own address where one was.
            labels: (1, H, W) uint8 on the host, C-contiguous, written until it is collected; no memory of the
                frame's. ``None``: they stay on the GPU, see :meth:`collect_on_device`.

        Returns:
            A ticket to collect with.

        Raises:
            FrameError: It is another library's array and no such frame.
            BackendError: An array of the host does not fit, or the driver or the model refuses; nothing is in
                flight of this frame.
            FaultError: The GPU is lost; so is everything in flight.
            UsageError: All slots are in flight.
        """
        with self._running():
            if labels is not None:
                check_buffer("labels", labels, self.labels_shape)
                fault = fault_of_target("labels", labels, frame if isinstance(frame, np.ndarray) else None)
                if fault is not None:
                    raise BackendError(fault)
            guest = None
            if isinstance(frame, np.ndarray):
                check_buffer("frame", frame, self.frame_shape)
            else:
                reader = self._computes if self.graph != "captured" else self._uploads
                guest = device_frame(frame, self.frame_shape, self._session, reader)
            with self._submits:
                slot = self._take_free()
                try:
                    slot.target = labels
                    self._start(slot, self._source(slot, frame) if guest is None else guest)
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
            ticket: Of :meth:`submit`; in any order.

        Raises:
            BackendError: The inference failed.
            FaultError: The GPU is lost.
            UsageError: Nothing is in flight with this ticket, or its labels stay on the GPU.
        """
        with self._running(), self._finished(ticket, downloaded=True) as slot:
            if slot.target is not None and not self._buffers.holds(slot.target):
                slot.target.reshape(-1)[:] = slot.labels.array
            return slot.times(self._session)

    def collect_on_device(self, ticket: int) -> tuple[DeviceLabels, DeviceTimes]:
        """Wait for a frame's labels and leave them on the GPU, until their slot is used again.

        Slots are used in turn: with ``depth`` slots and one frame in flight at a time, the labels stay for
        ``depth - 1`` more submits.

        Raises:
            BackendError: The inference failed.
            FaultError: The GPU is lost.
            UsageError: Nothing is in flight with this ticket.
        """
        with self._running(), self._finished(ticket, downloaded=False) as slot:
            labels = DeviceLabels(
                slot.labels_address,
                self.labels_shape,
                lambda: slot.ticket == ticket and not self._closed and self._fault is None,
                lambda stream: self._note_reader(slot, stream),
            )
            return labels, slot.times(self._session)

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
        if usable and self._session.is_idle(CLOSE_GRACE_S):
            for free in (self._release, self._buffers.unpin_all):
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
            for kept in (self._enqueue, self._release):
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
            self._session.abandon()
        with self._changed:
            self._flying.clear()
            self._free.clear()

    # What is enqueued.

    def _source(self, slot: Slot, frame: UInt8Array) -> int:
        """Where on the host the GPU reads a frame: in the caller's array, or where it was copied to."""
        if self._buffers.holds(frame):
            return address_of(frame)
        slot.frame.array[:] = frame.reshape(-1)
        return slot.frame.address

    def _start(self, slot: Slot, source: DeviceFrame | int) -> None:
        call = self._session.call
        guest = source if isinstance(source, DeviceFrame) else None
        slot.guest = guest
        in_place = guest is not None and slot.graph is None
        slot.has_upload = not in_place
        if guest is not None and guest.stream is not None:
            call("cuEventRecord", slot.guest_ready, guest.stream)
            call("cuStreamWaitEvent", self._computes if in_place else self._uploads, slot.guest_ready, 0)
        if slot.has_upload:
            call("cuEventRecord", slot.upload_began, self._uploads)
            if isinstance(source, DeviceFrame):
                copy, address = "cuMemcpyDtoDAsync", source.address
            else:
                copy, address = "cuMemcpyHtoDAsync", source
            call(copy, slot.frame_address, address, slot.frame.array.nbytes, self._uploads)
            call("cuEventRecord", slot.uploaded, self._uploads)
            call("cuStreamWaitEvent", self._computes, slot.uploaded, 0)
        if slot.has_reader:
            slot.has_reader = False
            call("cuStreamWaitEvent", self._computes, slot.read, 0)
        call("cuEventRecord", slot.inference_began, self._computes)
        if slot.graph is not None:
            call("cuGraphLaunch", slot.graph, self._computes)
        else:
            self._run_model(slot, self._computes, guest.address if guest is not None else slot.frame_address)
        call("cuEventRecord", slot.inferred, self._computes)
        if slot.target is not None:
            held = self._buffers.holds(slot.target)
            call("cuStreamWaitEvent", self._downloads, slot.inferred, 0)
            call("cuEventRecord", slot.download_began, self._downloads)
            call(
                "cuMemcpyDtoHAsync",
                address_of(slot.target) if held else slot.labels.address,
                slot.labels_address,
                slot.labels.array.nbytes,
                self._downloads,
            )
            call("cuEventRecord", slot.downloaded, self._downloads)

    def _run_model(self, slot: Slot, stream: int, frame_address: int) -> None:
        try:
            self._enqueue(stream, {"frame": frame_address}, {"labels": slot.labels_address})
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
    def _finished(self, ticket: int, *, downloaded: bool) -> Iterator[Slot]:
        """The slot of a ticket when its work is done; free again afterwards."""
        with self._changed:
            slot = self._flying.get(ticket)
            if slot is None:
                raise UsageError(
                    f"nothing is in flight with the ticket {ticket}; it was collected, or never was"
                )
            if downloaded and slot.target is None:
                raise UsageError(f"the labels of the frame {ticket} stay on the GPU; collect them there")
            del self._flying[ticket]
        try:
            self._session.call(
                "cuEventSynchronize", slot.downloaded if slot.target is not None else slot.inferred
            )
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
        for stream in (self._uploads, self._computes, self._downloads):
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

    def _note_reader(self, slot: Slot, stream: int) -> None:
        with self._running():
            self._session.call("cuEventRecord", slot.read, stream)
            slot.has_reader = True

    # States.

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Inside, the executor is open, its context current, and a lost GPU is remembered."""
        with self._changed:
            if self._fault is not None:
                raise self._fault.with_traceback(None)
            if self._closed:
                raise BackendError("the executor is closed; open another")
            self._inside += 1
        try:
            self._session.activate()
            yield
        except FaultError as error:
            self._note(error)
            raise
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def _note(self, fault: FaultError) -> None:
        with self._changed:
            if self._fault is None:
                self._fault = fault
                logger.error("%s", fault)
