"""Every error that the runtime raises on purpose, as one tree.

DanetError                       exit code 1: the work could not be done, or a gate was not met
├── BundleError                  a bundle that is damaged, unknown, unsafe or incomplete
│   ├── NoBundleError            exit code 2: the path that was given is not there
│   ├── ManifestError            its manifest does not say what this version understands
│   ├── IntegrityError           a file differs from the hash that the manifest gives, or leads elsewhere
│   └── SignatureError           no trusted key vouches for it
├── SourceError                  frames could not be read
│   ├── SourceTruncatedError     the source broke off after it had delivered frames
│   └── SourceDamagedError       frames of a file are damaged; the others were delivered
├── SinkError                    a result could not be written
│   └── SinkFormatError          a sink keeps the size that it has, and was given another
├── BackendError                 a model could not be loaded, built or run
│   └── FaultError               exit code 3: this process cannot go on, its supervisor must restart it
├── AgreementError               labels agree with others, or with the golden frame's, on too few pixels
├── FrameError                   an array is not a frame that this bundle takes
├── MissingDependencyError       an optional package is not installed
└── UsageError                   exit code 2: the request itself makes no sense
    └── PassphraseNeededError    a private key is encrypted, and no passphrase was given

A message holds what was expected, what came, and what to do. ``danet`` prints it without a traceback and
exits with the class's ``exit_code``; the sibling packages mark their own errors with the same attribute.
"""

from __future__ import annotations

from typing import ClassVar


class DanetError(Exception):
    """Base of all errors of the runtime."""

    exit_code: ClassVar[int] = 1


class BundleError(DanetError):
    """A bundle is damaged, of an unknown version, unsafe or incomplete."""


class NoBundleError(BundleError):
    """The path that was given as a bundle's is not there: wrong usage, not a bad bundle."""

    exit_code: ClassVar[int] = 2


class ManifestError(BundleError):
    """A manifest does not follow the schema of this version."""


class IntegrityError(BundleError):
    """A file of a bundle differs from its entry in the manifest."""


class SignatureError(BundleError):
    """A bundle is not signed by a key that is trusted, or was changed after it was signed."""


class SourceError(DanetError):
    """A source of frames cannot be opened or read."""


class SourceTruncatedError(SourceError):
    """A source broke off after it had delivered frames."""


class SourceDamagedError(SourceError):
    """Frames of a file are damaged; the others were delivered."""


class SinkError(DanetError):
    """A result cannot be written."""


class SinkFormatError(SinkError):
    """A sink cannot go on with frames of another size or format than it has begun with."""


class BackendError(DanetError):
    """A backend cannot load, build or run a model."""


class FaultError(BackendError):
    """Something broke that cannot be mended in this process: a lost GPU context, an inference that hangs."""

    exit_code: ClassVar[int] = 3


class AgreementError(DanetError):
    """Labels agree with another backend's, or with the golden frame's, on fewer pixels than was asked for."""


class FrameError(DanetError):
    """An array is not a frame that the bundle takes."""


class MissingDependencyError(DanetError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, purpose: str, install: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed; {install}")


class UsageError(DanetError):
    """The arguments of a call contradict each other or name something that does not exist."""

    exit_code: ClassVar[int] = 2


class PassphraseNeededError(UsageError):
    """A private key is encrypted, and no passphrase was given."""
