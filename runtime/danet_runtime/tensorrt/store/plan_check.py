"""Check that bytes are a plan at all, as far as the library can tell without running them.

TensorRT for RTX looks at a plan's header, without a GPU too. TensorRT's bindings have no such question; there
an engine of the store is held to its manifest alone until it is deserialised.
"""

from __future__ import annotations

from typing import Final

from danet_runtime.tensorrt.build.library import OLDEST_RTX, Serves, TensorRTLibrary
from danet_runtime.tensorrt.build.log import make_log

SERVES: Final = Serves("tensorrt-rtx", since=OLDEST_RTX)


def plan_fault(library: TensorRTLibrary, plan: bytes) -> str | None:
    """Return why bytes are no plan for this library; ``None`` if they are one, or if it cannot tell."""
    if not SERVES.includes(library.version) or library.flavour != SERVES.flavour:
        return None
    trt = library.module
    runtime = trt.Runtime(make_log(trt))
    # The verdict itself is of this machine, on which an engine for another need not be valid.
    _verdict, found = runtime.get_engine_validity(plan)
    if int(found) & int(trt.EngineInvalidityDiagnostics.MALFORMED_ENGINE):
        return f"its {len(plan)} bytes are no plan of {library.title}"
    return None
