"""Options that have a new name: the old one still works, hidden, and says so."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from danet_runtime.cli.console.printing import tell

RENAMED: Final = {
    "--black-box": "--flight-recorder",
    "--black-box-keep": "--flight-recorder-keep",
    "--black-box-mb": "--flight-recorder-mb",
    "--black-box-seconds": "--flight-recorder-seconds",
    "--colour": "--color",
    "--frames": "--data",
    "--images": "--data",
    "--ladder": "--fallback",
}
"""Names of version 0.1, and what they are called now; one that a command still has means what it says."""


def with_new_names(arguments: Sequence[str], known: Collection[str]) -> list[str]:
    """Replace old names of options by the new ones, and tell the user once for each.

    Args:
        arguments: Arguments of one command.
        known: Names of the options that this command has.

    Returns:
        The arguments with new names. Behind ``--`` nothing is an option, and nothing is replaced.
    """
    replaced = []
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for argument in arguments[:end]:
        name, equals, value = argument.partition("=")
        new = RENAMED.get(name)
        if new in known and name not in known:
            tell(f"danet: {name} is called {new} now; the old name goes with the next version", err=True)
            argument = f"{new}{equals}{value}"
        replaced.append(argument)
    return [*replaced, *arguments[end:]]
