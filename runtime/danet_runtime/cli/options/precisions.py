"""``BACKEND:PRECISION``, as every command takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, cast, get_args

import typer

from danet_runtime.errors import UsageError

if TYPE_CHECKING:
    from danet_runtime.bundle import Precision

Named = Literal["fp32", "fp16", "int8"]

HiddenPrecision = Annotated[
    Named | None, typer.Option("--precision", hidden=True, help="As in --backend BACKEND:PRECISION.")
]
"""The option ``--precision`` of version 0.1, beside ``--backend``."""

PRECISIONS: Final = get_args(Named)


def parted(text: str) -> tuple[str, str | None]:
    """Part ``BACKEND:PRECISION``; ``None``: no precision is named.

    Raises:
        BadParameter: There is no such precision.
    """
    backend, colon, precision = text.partition(":")
    if colon and precision not in PRECISIONS:
        raise typer.BadParameter(
            f"expected BACKEND:PRECISION with {', '.join(PRECISIONS)}, e.g. {backend}:fp16 (got {text!r})"
        )
    return backend, precision or None


def backend_and_precision(text: str, precision: Named | None) -> tuple[str, Precision | None]:
    """Return the backend and the precision of ``--backend`` and of a ``--precision`` beside it.

    Raises:
        UsageError: Two precisions are named.
    """
    backend, named = parted(text)
    if named is not None and precision not in (None, named):
        raise UsageError(f"--backend {text} and --precision {precision} differ; leave --precision out")
    return backend, cast("Precision | None", named or precision)
