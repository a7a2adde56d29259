"""``danet`` in a process of its own, as a user starts it, from the packages that the test itself imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

DANET: Final = (sys.executable, "-m", "danet_runtime")
"""The command's own words; those of its arguments follow."""


def danet(
    *arguments: object,
    cwd: Path | None = None,
    timeout_s: float = 120.0,
    encoding: str = "utf-8",
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, whatever that is; what it prints is text and is not seen here.

    Args:
        arguments: Behind ``danet``.
        cwd: Where it runs; by default where the test does.
        timeout_s: Far more than it may take beside other work; what hangs takes for ever.
        encoding: Encoding of its output; anything else raises ``UnicodeDecodeError``.
        environment: Further variables.
    """
    return subprocess.run(
        [*DANET, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding=encoding,
        timeout=timeout_s,
        check=False,
    )
