"""Every table of the README and the docs, made from benchmarks/results; measures nothing.

python -m benchmarks.tables [--check]

Rewrites what stands between markers; with --check changes nothing, names the documents that differ from what
would be written, and exits 1 where there are any.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.places import REPOSITORY
from benchmarks.tables.blocks import documents


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 where one is out of date"
    )
    arguments = parser.parse_args()
    changed = {
        path.relative_to(REPOSITORY): wanted for path, (text, wanted) in documents().items() if wanted != text
    }
    if arguments.check:
        for name in changed:
            print(f"{name} is out of date: run python -m benchmarks.tables", file=sys.stderr)
        return int(bool(changed))
    for name, wanted in changed.items():
        (REPOSITORY / name).write_text(wanted, encoding="utf-8")
        print(f"written: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
