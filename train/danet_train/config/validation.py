"""Turning pydantic's findings into one sentence that a user can act on."""

from __future__ import annotations

import reprlib

from pydantic import ValidationError

from danet_train.errors import ConfigError


def explain(source: str, error: ValidationError) -> ConfigError:
    """The first findings of ``error`` as a ConfigError that names ``source`` (a file or a call)."""
    findings = []
    for finding in error.errors()[:3]:
        where = ".".join(str(part) for part in finding["loc"]) or "the whole"
        if finding["type"] == "extra_forbidden":
            findings.append(f"unknown key {where!r}; remove it or correct its spelling")
        else:
            findings.append(f"{where}: {finding['msg']} (got {reprlib.repr(finding['input'])})")
    more = error.error_count() - len(findings)
    return ConfigError(f"{source}: " + "; ".join(findings) + (f"; and {more} more" if more > 0 else ""))
