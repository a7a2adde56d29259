"""Placeholders in the paths of outputs: ``{camera}`` and ``{start}``."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

CAMERA = "{camera}"
"""Placeholder for the camera's name."""

START = "{start}"
"""Placeholder for the start of the run in UTC, as 20261121T151042Z: a restarted run gets a new one."""

ALL_CAMERAS = "cameras"
"""Value of ``{camera}`` in the path of a report about several cameras."""

_BRACES = re.compile(r"\{[^{}]*\}|[{}]")


def start_now() -> str:
    """The present second in UTC, as in 20261121T151042Z."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


@dataclass(frozen=True)
class Placeholders:
    """Replaces the placeholders in the paths of one run's outputs.

    Attributes:
        cameras: Number of cameras.
        start: Value of ``{start}``.
    """

    cameras: int
    start: str = field(default_factory=start_now)

    def fill(
        self, text: str, camera: str, option: str, *, needs_camera: bool = True, has_braces: bool = False
    ) -> str:
        """The text with everything filled in.

        Args:
            text: Text with placeholders, as the user gave it.
            camera: Name of the camera.
            option: Option that gave it, for messages.
            needs_camera: Whether each of several cameras must have a text of its own.
            has_braces: Whether it may have braces of its own; else one that stands for nothing is refused.

        Raises:
            UsageError: There are several cameras, and the text has no place for their names; or it holds
                braces that stand for nothing.
        """
        from danet_runtime.errors import UsageError
        from danet_runtime.sources.protocol.uri import redacted

        if needs_camera and self.cameras > 1 and CAMERA not in text:
            raise UsageError(f"with several sources {option} must hold {CAMERA} (got {redacted(text)!r})")
        known = {CAMERA: camera, START: self.start}
        if not has_braces:
            for match in _BRACES.finditer(text):
                if match[0] not in known:
                    raise UsageError(
                        f"{option}: {match[0]!r} stands for nothing; expected {CAMERA} (the camera's name) "
                        f"or {START} (when the run began), and no other braces (got {redacted(text)!r})"
                    )
        for word, value in known.items():
            text = text.replace(word, value)
        return text
