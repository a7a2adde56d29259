"""DANet Edge runtime: a bundle becomes an engine on this device and a real-time segmentation stream.

Importing this package needs numpy alone; each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from danet_runtime.bundle.reader import Bundle as Bundle
    from danet_runtime.errors import (
        AgreementError as AgreementError,
        BackendError as BackendError,
        BundleError as BundleError,
        DanetError as DanetError,
        FaultError as FaultError,
        FrameError as FrameError,
        IntegrityError as IntegrityError,
        ManifestError as ManifestError,
        MissingDependencyError as MissingDependencyError,
        NoBundleError as NoBundleError,
        PassphraseNeededError as PassphraseNeededError,
        SignatureError as SignatureError,
        SinkError as SinkError,
        SinkFormatError as SinkFormatError,
        SourceDamagedError as SourceDamagedError,
        SourceError as SourceError,
        SourceTruncatedError as SourceTruncatedError,
        UsageError as UsageError,
    )
    from danet_runtime.inference.segmenter import Segmenter as Segmenter
    from danet_runtime.results.health import Health as Health
    from danet_runtime.results.result import Result as Result
    from danet_runtime.results.style import OverlayStyle as OverlayStyle
    from danet_runtime.sinks.registry import open_sink as open_sink
    from danet_runtime.sources.registry import open_source as open_source
    from danet_runtime.stream.state.options import StreamOptions as StreamOptions
    from danet_runtime.stream.stream import Stream as Stream

_HOMES: Final = {
    "AgreementError": "danet_runtime.errors",
    "BackendError": "danet_runtime.errors",
    "Bundle": "danet_runtime.bundle.reader",
    "BundleError": "danet_runtime.errors",
    "DanetError": "danet_runtime.errors",
    "FaultError": "danet_runtime.errors",
    "FrameError": "danet_runtime.errors",
    "Health": "danet_runtime.results.health",
    "IntegrityError": "danet_runtime.errors",
    "ManifestError": "danet_runtime.errors",
    "MissingDependencyError": "danet_runtime.errors",
    "NoBundleError": "danet_runtime.errors",
    "OverlayStyle": "danet_runtime.results.style",
    "PassphraseNeededError": "danet_runtime.errors",
    "Result": "danet_runtime.results.result",
    "Segmenter": "danet_runtime.inference.segmenter",
    "SignatureError": "danet_runtime.errors",
    "SinkError": "danet_runtime.errors",
    "SinkFormatError": "danet_runtime.errors",
    "SourceDamagedError": "danet_runtime.errors",
    "SourceError": "danet_runtime.errors",
    "SourceTruncatedError": "danet_runtime.errors",
    "Stream": "danet_runtime.stream.stream",
    "StreamOptions": "danet_runtime.stream.state.options",
    "UsageError": "danet_runtime.errors",
    "open_sink": "danet_runtime.sinks.registry",
    "open_source": "danet_runtime.sources.registry",
}

__all__ = tuple(_HOMES)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whichever public name was asked for
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
