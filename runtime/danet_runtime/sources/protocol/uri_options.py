"""The options behind the ``?`` of a URI, stated once with their types, limits and defaults."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, ValidationError

from danet_runtime.errors import UsageError
from danet_runtime.sources.protocol.uri import redacted

_Options = TypeVar("_Options", bound="UriOptions")


class UriOptions(BaseModel):
    """Base of the options of one kind of source or sink: each field is one, its description is its value.

    A field has a default, since an option may be left out; ``Field(description=...)`` says in a word or two
    what stands behind its ``=``, as in ``size=HxW``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def of(cls: type[_Options], uri: str) -> _Options:
        """Read the options of a URI such as ``synthetic:?size=720x1280&fps=30``.

        Raises:
            UsageError: One of them is not known, given twice, or has no such value.
        """
        pairs = parse_qsl(uri.partition("?")[2], keep_blank_values=True)
        options, known = dict(pairs), tuple(cls.model_fields)
        if not options.keys() <= set(known) or len(options) != len(pairs):
            raise UsageError(
                f"{redacted(uri)!r}: expected options of {', '.join(known)}, each once "
                f"(got {', '.join(key for key, _ in pairs)})"
            )
        try:
            return cls.model_validate(options)
        except ValidationError as error:
            wrong = dict.fromkeys(str(item["loc"][0]) for item in error.errors(include_url=False))
            got = " and ".join(f"{name}={str(options[name])[:40]!r}" for name in wrong)
            scheme = uri.partition(":")[0]
            raise UsageError(f"{redacted(uri)!r}: expected {scheme}:{cls.written()} (got {got})") from error

    @classmethod
    def written(cls) -> str:
        """How they are written, as in ``?size=HxW&fps=RATE``."""
        return "?" + "&".join(f"{name}={field.description}" for name, field in cls.model_fields.items())
