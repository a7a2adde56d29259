"""Classes that are listed with one line each, and say the rest of themselves.

A source, a sink or a backend is a class with a :class:`Statement`: how it is called and written, what it is
for and what it needs. A :class:`Registry` lists where such classes are; help, `danet doctor` and errors are
made of what they state. Nothing is imported before the first look.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from danet_runtime.dependencies import Needs


class WrittenOptions(Protocol):
    """Options of a registered class."""

    @classmethod
    def written(cls) -> str:
        """Return how its options are written behind its name."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Metadata of a registered class.

    Attributes:
        name: One word, for reports and `danet doctor`.
        form: How users write it, as in ``camera:0 or /dev/video0``.
        help: Explanation in a few words; empty where ``form`` says enough.
        options: Options that may stand behind its name, with their types and limits.
        needs: Packages and programs that must be installed.
    """

    name: str
    form: str
    help: str = ""
    options: type[WrittenOptions] | None = None
    needs: Needs = ()

    @property
    def explained(self) -> str:
        """The form, what it is, and its options."""
        options = f"with {self.options.written()}" if self.options is not None else ""
        remarks = ", ".join(filter(None, (self.help, options)))
        return f"{self.form} ({remarks})" if remarks else self.form


class Registered(Protocol):
    """A class that can be listed."""

    statement: ClassVar[Any]
    """A :class:`Statement`, or one with more in it."""


Kind = TypeVar("Kind", bound=Registered)


class Registry(Generic[Kind]):
    """A list of classes, in the order in which they are asked and shown.

    Args:
        places: Places of the classes, each as ``package.module:Class``.
    """

    def __init__(self, *places: str) -> None:
        self._places = list(places)

    def add(self, place: str) -> None:
        """List one more class, as a program does that brings its own; listed twice, it is there once."""
        if place not in self._places:
            self._places.append(place)

    def remove(self, place: str) -> None:
        """Take a class off the list."""
        self._places.remove(place)

    def __iter__(self) -> Iterator[type[Kind]]:
        """The classes; each is imported when its turn comes."""
        for place in tuple(self._places):
            module, _, name = place.partition(":")
            found: type[Kind] = getattr(importlib.import_module(module), name)
            yield found

    @property
    def forms(self) -> str:
        """Return how the registered classes are written, for an error."""
        return _joined([one.statement.form for one in self], ", ")

    @property
    def explained(self) -> str:
        """Return how the registered classes are written and what they are, for a help text."""
        return _joined([one.statement.explained for one in self], "; ")


def _joined(words: Sequence[str], comma: str) -> str:
    return comma.join([*words[:-1], f"or {words[-1]}"] if len(words) > 1 else words)
