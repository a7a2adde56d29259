"""Metadata that every backend class declares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from danet_runtime.backends.base import Backend
from danet_runtime.bundle.manifest import Precision
from danet_runtime.bundle.reader import Bundle
from danet_runtime.registry import Statement
from danet_runtime.tensorrt.build.library import Flavour


@dataclass(frozen=True, kw_only=True)
class BackendStatement(Statement):
    """Metadata of a backend class; its ``form`` is its name.

    Attributes:
        takes_gpu: Whether it needs a GPU.
        takes_threads: Whether the number of its CPU threads can be set.
        precision: The variant that it runs where none is asked for; ``None``: the most precise of the bundle.
        is_for_comparison: Whether it is for `danet compare` alone, and no backend of a stream.
    """

    takes_gpu: bool = False
    takes_threads: bool = False
    precision: Precision | None = None
    is_for_comparison: bool = False


@dataclass(frozen=True, kw_only=True)
class EngineStatement(BackendStatement):
    """Metadata of a backend class that runs engines, which `danet build` makes.

    Attributes:
        flavour: The library that builds and runs them.
        takes_targets: Whether they are built ahead of time, for GPUs that are named; else for the GPU here.
        takes_kernels: Whether they can hold the bundle's own kernels.
    """

    flavour: Flavour
    takes_targets: bool = False
    takes_kernels: bool = False

    @property
    def built(self) -> str:
        """How they are built, for a help text."""
        where = "ahead of time, for each --target" if self.takes_targets else "for the GPU here"
        return f"{self.name} {where}"


class BackendWanted(NamedTuple):
    """Settings of a backend besides its bundle and variant.

    Attributes:
        threads: CPU threads of one inference; ``None``: its own choice.
        engine_folder: Folder of TensorRT's engines; by default the user's cache.
    """

    threads: int | None = None
    engine_folder: Path | None = None


class RegisteredBackend(Protocol):
    """A class that opens backends of one name, often its own.

    Attributes:
        statement: Metadata of the class.
    """

    statement: ClassVar[BackendStatement]

    @classmethod
    def opened(cls, bundle: Bundle, precision: Precision, wanted: BackendWanted) -> Backend:
        """Load one variant of a bundle.

        Args:
            bundle: Bundle to run; its files are verified before they are parsed.
            precision: Variant of the bundle to run.
            wanted: Further settings; those that its metadata does not list are not set.

        Raises:
            UsageError: The bundle does not hold the variant.
            IntegrityError: The model file is not the one that was written.
            BackendError: The model cannot be loaded.
            MissingDependencyError: A package that it needs is not installed.
        """
