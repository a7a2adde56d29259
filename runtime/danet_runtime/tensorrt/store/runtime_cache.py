"""Kernels that TensorRT for RTX compiles for this GPU when an engine is opened, kept beside the engine.

An engine of TensorRT for RTX holds code that is compiled on the machine that runs it. What was compiled is
written to ``NAME-HASH.rtx-cache`` beside ``NAME-HASH.engine`` and read at the next start. The library itself
checks that it fits the GPU, the driver and its own version; that it is of this user it is trusted by the
folder, as the engine is.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from danet_runtime.errors import BackendError, UsageError
from danet_runtime.files.atomic import replacing
from danet_runtime.tensorrt.build.library import OLDEST_RTX, Serves, TensorRTLibrary
from danet_runtime.tensorrt.store.folder import keep_own, read_own_file, require_own_folder

SERVES: Final = Serves("tensorrt-rtx", since=OLDEST_RTX)

RUNTIME_CACHE_SUFFIX: Final = ".rtx-cache"
_LIMIT_BYTES: Final = 1 << 30

logger = logging.getLogger(__name__)


class RuntimeCache:
    """The compiled kernels of one engine. A CUDA context must be current in all but the constructor.

    Args:
        engine_path: Path of the engine, which lies in the folder of the engines.
        library: TensorRT for RTX.
    """

    def __init__(self, engine_path: Path, library: TensorRTLibrary) -> None:
        self.path = engine_path.with_suffix(RUNTIME_CACHE_SUFFIX)
        self._title = library.title
        self._stored = b""
        self._attached: Any = None

    def make_context(self, engine: Any, strategy: Any) -> Any:  # noqa: ANN401 - TensorRT's own types
        """Make an execution context that takes kernels from here, and adds what it compiles.

        What cannot be read, or does not fit, is said once in the log and left out.

        Args:
            engine: The deserialised engine.
            strategy: How the context gets the memory of its activations.

        Returns:
            The context; ``None`` where the library makes none.
        """
        runtime_config = engine.create_runtime_config()
        runtime_config.set_execution_context_allocation_strategy(strategy)
        if self._attached is None:
            self._attached = self._filled(runtime_config)
        if not runtime_config.set_runtime_cache(self._attached):
            logger.warning("%s takes no runtime cache; it compiles anew at each start", self._title)
        return engine.create_execution_context(runtime_config)

    def keep(self) -> None:
        """Write what is compiled now, if that is more than was read; where that fails, say so and go on."""
        runtime_cache = self._attached
        if runtime_cache is None:
            return
        content = runtime_cache.serialize()
        if content is None:
            logger.warning("%s does not give its compiled kernels; the next start compiles anew", self._title)
            return
        compiled = bytes(content)
        if compiled == self._stored:
            return
        try:
            require_own_folder(self.path.parent)
            with replacing(self.path, follow=False) as partial, partial.open("wb") as file:
                keep_own(file.fileno())
                file.write(compiled)
        except (OSError, BackendError, UsageError) as error:
            logger.warning("%s: %s; the next start compiles anew", self.path, error)

    def _filled(self, runtime_config: Any) -> Any:  # noqa: ANN401 - an IRuntimeConfig
        runtime_cache = runtime_config.create_runtime_cache()
        self._stored = self._read()
        if self._stored and not runtime_cache.deserialize(self._stored):
            logger.warning(
                "%s does not take the compiled kernels in %s, of another GPU, driver or version, or damaged; "
                "they are compiled anew",
                self._title,
                self.path,
            )
            self._stored = b""
        return runtime_cache

    def _read(self) -> bytes:
        try:
            require_own_folder(self.path.parent)
            content = read_own_file(self.path, limit_bytes=_LIMIT_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except BackendError as error:
            logger.warning("%s. The kernels are compiled anew.", error)
            return b""
        return content if len(content) <= _LIMIT_BYTES else b""
