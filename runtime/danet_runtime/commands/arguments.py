"""Reading arguments that several commands share."""

from __future__ import annotations

import re

from danet_runtime.errors import UsageError


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Read ``HxW``.

    Args:
        text: For example ``512x1024``.
        option: The option that gave it, for the message.

    Returns:
        Height and width.

    Raises:
        UsageError: It is anything else.
    """
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text.strip().lower())
    if not match:
        raise UsageError(f"{option} must be HEIGHTxWIDTH in pixels, for example 512x1024 (got {text!r})")
    return int(match.group(1)), int(match.group(2))
