"""Arrays on the host that a GPU copies from and to by itself, because their pages are locked.

A stream's slots are used again and again; locking them once spares two copies a frame on the host. Locking is
the process's, not an engine's: two engines of a fallback may be handed the same slots.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from danet_runtime.errors import BackendError, FaultError
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.tensorrt.cuda.session import CudaSession

logger = logging.getLogger(__name__)


class _Locked:
    """Arrays that this process has page-locked, by address: the array, kept alive, and its count of users."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.arrays: dict[int, tuple[UInt8Array, int]] = {}


_LOCKED: Final = _Locked()


class HostBuffers:
    """The arrays that one executor has been shown.

    Args:
        session: CUDA session whose driver locks them; its context must be current in the calling thread.

    Attributes:
        refused: Why arrays are not locked; ``None``: the driver has refused none.
    """

    def __init__(self, session: CudaSession) -> None:
        self.refused: str | None = None
        self._session = session
        self._addresses: dict[int, int] = {}  # to the number of bytes

    def __len__(self) -> int:
        return len(self._addresses)

    def pin(self, array: UInt8Array) -> None:
        """Lock an array's pages, which must be its own.

        See :func:`danet_runtime.frames.arrays.page_aligned`.

        Where the driver refuses, that is said once, in the log and in :attr:`refused`, and nothing is locked.

        Raises:
            FaultError: The GPU is lost.
        """
        address = address_of(array)
        if address in self._addresses:
            return
        with _LOCKED.guard:
            known, users = _LOCKED.arrays.get(address, (array, 0))
            if not users:
                try:
                    self._session.call("cuMemHostRegister", address, array.nbytes, 0)
                except FaultError:
                    raise
                except BackendError as error:
                    if self.refused is None:
                        self.refused = str(error)
                        logger.warning(
                            "frames are copied on the host, its memory cannot be locked: %s", error
                        )
                    return
            _LOCKED.arrays[address] = known, users + 1
        self._addresses[address] = array.nbytes

    def holds(self, array: UInt8Array) -> bool:
        """Whether the GPU copies from and to this array by itself."""
        return self._addresses.get(address_of(array)) == array.nbytes

    def unpin(self, array: UInt8Array) -> None:
        """Unlock an array that no copy is under way from or to; nothing for one that is not locked."""
        self._unlock(address_of(array))

    def unpin_all(self) -> None:
        """Unlock every array."""
        for address in list(self._addresses):
            self._unlock(address)

    def _unlock(self, address: int) -> None:
        if self._addresses.pop(address, None) is None:
            return
        with _LOCKED.guard:
            array, users = _LOCKED.arrays.pop(address)
            if users > 1:
                _LOCKED.arrays[address] = array, users - 1
                return
        try:
            self._session.call("cuMemHostUnregister", address)
        except FaultError:
            raise
        except BackendError as error:
            logger.warning("while unlocking memory of the host: %s", error)


def address_of(array: UInt8Array) -> int:
    """Address of an array's first byte."""
    address: int = array.__array_interface__["data"][0]
    return address
