"""Writing a bundle: beside its place, hashed while written, renamed into place as the last step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from danet_runtime.bundle.manifest import FileRef, Manifest
from danet_runtime.bundle.reader import MANIFEST_NAME, Bundle
from danet_runtime.errors import BundleError
from danet_runtime.files.atomic import replacing_folder, sha256_of


class BundleWriter:
    """Collects the files of a new bundle; use :func:`write_bundle`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._finished = False

    @property
    def finished(self) -> bool:
        """Whether the manifest has been written."""
        return self._finished

    def add(self, path: str, data: bytes) -> FileRef:
        """Write one file and return its entry for the manifest.

        Args:
            path: Relative to the bundle, with ``/`` between the parts.
            data: The content.

        Raises:
            BundleError: The disk is full, or cannot be written to.
        """
        ref = FileRef(path=path, sha256=sha256_of(data), bytes=len(data))
        self._write(path, data)
        return ref

    def copy(self, source: Bundle, ref: FileRef) -> FileRef:
        """Take over one file of another bundle, checked on the way."""
        return self.add(ref.path, source.read(ref))

    def preview(self, manifest: Manifest) -> Bundle:
        """The bundle as it would be with this manifest, to measure what goes into the final one."""
        return Bundle(self._folder, manifest, sha256_of(manifest.to_json().encode()))

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, after a check that it vouches for what is there."""
        self.preview(manifest).verify()
        self._write(MANIFEST_NAME, manifest.to_json().encode())
        self._finished = True

    def _write(self, path: str, data: bytes) -> None:
        file = self._folder / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        except OSError as error:
            raise BundleError(
                f"{path} ({len(data) / 2**20:.1f} MiB) of the new bundle cannot be written in "
                f"{self._folder.parent}: {error.strerror or error}; nothing of the bundle is kept: make room "
                "there, or give another path"
            ) from error


@contextmanager
def write_bundle(path: Path, *, overwrite: bool = False) -> Iterator[BundleWriter]:
    """Yield a writer; the bundle appears at ``path`` when the block ends with its manifest written.

    Raises:
        UsageError: ``path`` exists and ``overwrite`` is false, or it is something else than a bundle.
        BundleError: The block ended without :meth:`BundleWriter.finish`.
    """
    with replacing_folder(path, MANIFEST_NAME, overwrite=overwrite) as folder:
        writer = BundleWriter(folder)
        yield writer
        if not writer.finished:
            raise BundleError(f"the bundle for {path} was left without a manifest; nothing was written")
