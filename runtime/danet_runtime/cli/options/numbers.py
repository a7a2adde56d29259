"""Numbers of the command line: finite, and of a size that something can be done with."""

from __future__ import annotations

import math
from typing import Any, Final

import typer
from typer.core import TyperCommand

from danet_runtime.cli.options.renamed import with_new_names

MOST: Final = 1e9
"""The largest magnitude of a number with a fraction: as seconds 31 years, as nanoseconds 63 bits."""

MOST_WHOLE: Final = 2**63 - 1


class SoundCommand(TyperCommand):
    """A command that refuses numbers which are not finite or absurdly large, in each of its options.

    Options that were renamed are still known by their old names.

    ``nan`` passes every range, since it is neither below nor above anything, and ``inf`` those without end;
    what is computed from them fails later, or never comes to an end.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's own or typer's copy
        """Read the arguments.

        Raises:
            BadParameter: A number is not finite or too large.
        """
        parameters: list[Any] = list(self.params)
        known = {name for parameter in parameters for name in parameter.opts}
        left = super().parse_args(ctx, with_new_names(args, known))
        for parameter in parameters:
            value = ctx.params.get(parameter.name or "")
            for one in value if isinstance(value, (list, tuple)) else (value,):
                if problem := _problem(one):
                    raise typer.BadParameter(problem, ctx=ctx, param=parameter)
        return left


def _problem(value: object) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return f"expected a finite number (got {value:g})"
    if isinstance(value, float) and abs(value) > MOST:
        return f"expected a number between {-MOST:g} and {MOST:g} (got {value:g})"
    if isinstance(value, int) and abs(value) > MOST_WHOLE:
        return f"expected a whole number below 2^63 (got one of {len(str(abs(value)))} digits)"
    return None
