"""``danet`` in a process of its own, as a user starts it, from the packages that the test itself imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from forking_danet import ForkingDanet

DANET: Final = (sys.executable, "-m", "danet_runtime")
"""The command's own words; those of its arguments follow."""

_LOADED: Final[list[ForkingDanet]] = []
"""The process that has loaded danet's libraries, once there is one."""


def danet(
    *arguments: object,
    cwd: Path | None = None,
    timeout_s: float = 120.0,
    encoding: str = "utf-8",
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, whatever that is; what it prints is text and is not seen here.

    Its process is a fork of one that has loaded the libraries, for loading them takes a second and is most of
    what such a test would take. Where the environment is another than that one's, it starts anew: libraries
    read their variables while they are loaded.

    Args:
        arguments: Behind ``danet``.
        cwd: Where it runs; by default where the test does.
        timeout_s: Far more than it may take beside other work; what hangs takes for ever.
        encoding: Encoding of its output; anything else raises ``UnicodeDecodeError``.
        environment: Further variables.
    """
    words = list(map(str, arguments))
    if environment:
        return _started(words, cwd, timeout_s, encoding, {**os.environ, **environment})
    if _LOADED and not _LOADED[0].is_like(os.environ):
        return _started(words, cwd, timeout_s, encoding, dict(os.environ))
    if not _LOADED:
        _LOADED.append(ForkingDanet())
    with TemporaryDirectory(prefix="danet-printed-") as folder:
        printed = Path(folder, "stdout"), Path(folder, "stderr")
        code = _LOADED[0].run(words, cwd or Path.cwd(), printed, timeout_s)
        return subprocess.CompletedProcess(words, code, *(file.read_text(encoding) for file in printed))


def _started(
    words: list[str], cwd: Path | None, timeout_s: float, encoding: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DANET, *words],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding=encoding,
        timeout=timeout_s,
        check=False,
    )
