"""TensorRT's timing cache, kept between builds: one file for each release of the library and each GPU."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, Final

from danet_runtime.errors import BackendError
from danet_runtime.files.atomic import replacing
from danet_runtime.tensorrt.build.library import OLDEST, Serves, TensorRTLibrary
from danet_runtime.tensorrt.cuda.device import Gpu
from danet_runtime.tensorrt.store.folder import keep_own, make_own_folder, read_own_file, require_own_folder
from danet_runtime.tensorrt.store.lock import exclusive

SERVES: Final = Serves("tensorrt", since=OLDEST)
"""Not TensorRT for RTX: there the cache has been without effect since 1.2, and is deprecated."""

logger = logging.getLogger(__name__)


class TimingCache:
    """The timings of one release of TensorRT on one GPU.

    Builds that run at the same time each add theirs: what is in the file is merged in before it is replaced.
    The file is TensorRT's own form, as trtexec's ``--timingCacheFile`` takes it.

    Args:
        folder: Folder of the engines.
        library: TensorRT.
        gpu: GPU that is built for.
    """

    def __init__(self, folder: Path, library: TensorRTLibrary, gpu: Gpu) -> None:
        version = ".".join(map(str, library.version))
        device = re.sub(r"[^A-Za-z0-9]+", "-", f"{gpu.name}-{gpu.multiprocessors}sm").strip("-")
        self._title = library.title
        self.path = folder / "timings" / f"tensorrt_{version}-{device}.timing"
        self._attached: Any = None  # TensorRT wants it alive until the engine is built

    def attach(self, config: Any) -> None:  # noqa: ANN401 - an IBuilderConfig
        """Give a configuration the timings in the file; where they do not serve, it begins with none.

        Raises:
            BackendError: TensorRT takes no timing cache, not even an empty one.
        """
        for stored in dict.fromkeys((self._read(), b"")):
            timing_cache = config.create_timing_cache(stored)
            if timing_cache is not None and config.set_timing_cache(timing_cache, False):
                self._attached = timing_cache
                return
            logger.warning("%s does not take the timings in %s; measuring anew", self._title, self.path)
        raise BackendError(f"{self._title} takes no timing cache; reinstall TensorRT")

    def keep(self, config: Any) -> None:  # noqa: ANN401 - an IBuilderConfig
        """Merge what the build measured into the file; where that fails, the engine is not lost with it."""
        try:
            self._merge(config)
        except (OSError, BackendError) as error:
            logger.warning("%s: %s; the next build measures anew", self.path, error)

    def _merge(self, config: Any) -> None:  # noqa: ANN401 - an IBuilderConfig
        timing_cache = self._attached
        make_own_folder(self.path.parent)
        with exclusive(self.path.with_suffix(".lock")):
            others = config.create_timing_cache(self._read())
            if others is not None:
                timing_cache.combine(others, False)
            content = timing_cache.serialize()
            if content is None:
                logger.warning("%s does not give its timings; the next build measures anew", self._title)
                return
            with replacing(self.path, follow=False) as partial, partial.open("wb") as file:
                keep_own(file.fileno())
                file.write(bytes(content))

    def _read(self) -> bytes:
        try:
            require_own_folder(self.path.parent)
            return read_own_file(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except BackendError as error:
            logger.warning("%s. Measuring anew.", error)
            return b""
