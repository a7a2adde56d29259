"""Read a pickle symbolically: nothing that it names is imported, and nothing of it is run.

Every class and every function becomes a stand-in, which can be called, filled and given a state, and does
nothing but keep what it was given.
"""

from __future__ import annotations

import io
import pickle

import torch

_STORAGES = {
    f"{module}.{kind}Storage": getattr(torch, f"{kind}Storage")
    for module in ("torch", "torch.cuda")
    for kind in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
}
_TODAY = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # as pickles of protocol 2 call them
_NEVER_FROM = {"os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "runpy", "pty", "importlib"}
_NEVER = {f"builtins.{name}" for name in ("eval", "exec", "compile", "__import__", "open")}
"""Functions that no trainer stores and an attack needs. None is ever run; they are listed to warn."""


class HostileFileError(ValueError):
    """The file asks for something to be run that no trainer stores; the message names it alone."""


class StandIn:
    """Stands for an object of a class that is not loaded, or the result of a function that is not called."""

    path = ""

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.args: tuple[object, ...] = args
        self.state: object = None
        self.pairs: list[tuple[object, object]] = []
        self.values: list[object] = []

    def __new__(cls, *_: object, **__: object) -> StandIn:
        """Make an object as pickle does, which calls no ``__init__``."""
        made = super().__new__(cls)
        StandIn.__init__(made, *_)
        return made

    def __call__(self, *args: object, **_: object) -> StandIn:
        """Return another stand-in, for the result of a method or a function made at loading."""
        return type(self)(*args)

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        self.pairs.append((key, value))

    def append(self, value: object) -> None:
        """Keep an item of a list."""
        self.values.append(value)

    add = append

    def extend(self, values: list[object]) -> None:
        """Keep items of a list."""
        self.values.extend(values)


class Storage:
    """The place of a tensor's values in the file, as torch describes it."""

    def __init__(self, description: tuple[object, ...]) -> None:
        self.description = description

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("a storage has no state")


class SymbolicReader(pickle.Unpickler):  # noqa: S301 - finds no class and no function, see find_class
    """Reads any pickle into plain values, stand-ins and places of storages; imports and runs nothing."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="latin1")
        self.storages: list[Storage] = []
        self._classes: dict[str, type[StandIn]] = {}

    def find_class(self, module: str, name: str, /) -> type[StandIn]:
        """Return a stand-in of that name; the only way that pickle has to a class or a function.

        Raises:
            HostileFileError: No trainer stores it.
        """
        path = f"{_TODAY.get(module, module)}.{name}"
        if module in _NEVER_FROM or path in _NEVER:
            raise HostileFileError(path)
        if path not in self._classes:
            self._classes[path] = type("StandIn", (StandIn,), {"path": path})
        return self._classes[path]

    def persistent_load(self, pid: object, /) -> object:
        """Return the place of a storage; a stand-in for anything else outside of the pickle."""
        if isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and path_of(pid[1]) in _STORAGES:
            storage = Storage(("storage", _STORAGES[path_of(pid[1])], *pid[2:]))
            self.storages.append(storage)
            return storage
        what = f"{pid[0]} {path_of(pid[1])}" if isinstance(pid, tuple) and len(pid) > 1 else "unknown"
        return self.find_class("", what)


def path_of(held: object) -> str:
    """Return the name of the class or the function that ``held`` stands in for; empty for anything else."""
    return held.path if isinstance(held, type) and issubclass(held, StandIn) else ""
