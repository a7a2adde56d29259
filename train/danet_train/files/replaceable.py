"""Which folders ``--overwrite`` may replace: empty ones, and those that this program made, unchanged in kind.

A marker, a small file in JSON with the format's name, tells them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from danet_train.errors import UsageError


def write_marker(path: Path, form: str, content: Mapping[str, object]) -> None:
    """Write the marker of a folder.

    Args:
        path: Its place in the folder.
        form: Name of the format of the folder.
        content: What else it tells.
    """
    path.write_text(json.dumps({"format": form, **content}, indent=2) + "\n", encoding="utf-8")


def check_replaceable(out: Path, marker: str, form: str, content: Collection[str]) -> None:
    """Let a folder be replaced only where nothing but what this program made would be lost.

    Args:
        out: The folder.
        marker: Name of the marker in it.
        form: Name of the format that the marker must state.
        content: Names of what may stand in it, the marker's too.

    Raises:
        UsageError: It may not be replaced.
    """
    found = sorted(path.name for path in out.iterdir())
    if out.is_symlink():
        reason = "it is a link"
    elif not found:
        return
    elif not _is_marker(out / marker, form):
        reason = f"it has no {marker} of this command, but {_listing(found)}"
    elif foreign := [name for name in found if name not in content]:
        reason = f"it also holds {_listing(foreign)}"
    else:
        return
    raise UsageError(
        f"--overwrite replaces an empty folder or a data set that this command made; {out} is neither: "
        f"{reason}; give another path, or move it away yourself"
    )


def _is_marker(path: Path, form: str) -> bool:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == form


def _listing(names: list[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
