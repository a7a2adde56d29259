"""The first code of a Python child process: it imports from where its parent does, and nowhere else.

``python -m`` puts the working directory before everything else, so that a file ``numpy.py`` beside the videos
would run in every camera's child. Python 3.11 has ``-P`` against that; a vehicle may have 3.10, where ``-I``
does the same, but forgets ``PYTHONPATH`` and what a user has installed for himself, too. So children are
started as ``python -I start.py PATHS MODULE ARGUMENTS...``, by the path of this file, and PATHS are the
parent's.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

_PACKAGES = str(Path(__file__).resolve().parents[2])


def module_command(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that starts a module as ``python -m`` does, but for the working directory.

    Args:
        module: Full name of the module.
        arguments: Arguments that the module finds in ``sys.argv``.

    Returns:
        The words of the command.
    """
    return (sys.executable, "-I", __file__, os.pathsep.join(_import_path()), module, *arguments)


def _import_path() -> list[str]:
    """This process's own, without the working directory, under whatever name it stands there.

    Where this package itself lies in the working directory, that comes last: it was imported from there.
    """
    try:
        here = Path.cwd().resolve()
    except OSError:  # it was removed
        here = None
    paths = [path for path in sys.path if Path(path).is_absolute() and Path(path).resolve() != here]
    return paths if _PACKAGES in paths else [*paths, _PACKAGES]


if __name__ == "__main__":
    sys.path[:] = sys.argv[1].split(os.pathsep)
    del sys.argv[:2]  # run_module replaces the first that is left
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
