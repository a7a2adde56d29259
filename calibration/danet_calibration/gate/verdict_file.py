"""The verdict's file: it never says of one calibration what another one found."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from danet_calibration.errors import CalibrationError, GateError
from danet_runtime.errors import UsageError
from danet_runtime.files.atomic import check_file_target, write_json

logger = logging.getLogger(__name__)


class VerdictFile:
    """JSON file that holds, at any time, the state of the calibration that was begun last.

    It always has the keys ``gate``, ``reason``, ``source_sha256`` (hash of the manifest of the calibrated
    bundle; null where it could not be read) and ``bundle_sha256`` (hash of the manifest of the written
    bundle; null where none was written).

    Args:
        path: Path of the JSON file.
        apart_from: Folders that the file may not lie in.

    Raises:
        UsageError: The file lies in one of them, or cannot be written.
    """

    def __init__(self, path: Path, *apart_from: Path) -> None:
        for folder in apart_from:
            if path.resolve().is_relative_to(folder.resolve()):
                raise UsageError(f"--verdict {path} lies in the bundle {folder}; give a path outside of it")
        check_file_target(path)
        self.path = path
        self._source: str | None = None
        self._begun = False

    def begin(self, source_sha256: str) -> None:
        """Replace the content of an earlier calibration.

        Raises:
            CalibrationError: It cannot be written.
        """
        self._source = source_sha256
        self._begun = True
        reason = "the calibration was begun and has not ended: it is under way, or was cut off"
        self._write({"gate": "not measured", "reason": reason})

    def finish(self, verdict: dict[str, Any], bundle_sha256: str) -> None:
        """Write the verdict on the bundle that was written.

        Raises:
            CalibrationError: It cannot be written.
        """
        self._write(verdict, bundle_sha256)

    def fail(self, error: BaseException) -> bool:
        """Write why there is no bundle: the gate's own verdict, or ``failed`` with the reason.

        Wrong usage before anything was begun leaves the file as it is.

        Returns:
            Whether it was written; where not, the log says why, so that ``error`` can still be raised.
        """
        if getattr(error, "exit_code", 1) == UsageError.exit_code and not self._begun:
            return False
        if isinstance(error, GateError):
            content = error.verdict
        else:
            reason = str(error) or ("interrupted" if isinstance(error, KeyboardInterrupt) else repr(error))
            content = {"gate": "failed", "reason": reason}
        try:
            self._write(content)
        except CalibrationError as problem:
            logger.warning("%s", problem)
            return False
        return True

    def _write(self, content: dict[str, Any], bundle_sha256: str | None = None) -> None:
        try:
            write_json(self.path, {**content, "source_sha256": self._source, "bundle_sha256": bundle_sha256})
        except OSError as error:
            raise CalibrationError(
                f"the verdict {self.path} cannot be written ({error.strerror or error}); whatever stands "
                "there is of an earlier calibration: make room, or give another path with --verdict"
            ) from error
