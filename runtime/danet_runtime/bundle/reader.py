"""Opening a bundle: nothing in it is parsed before its hash has been checked."""

from __future__ import annotations

from pathlib import Path

from danet_runtime.bundle.manifest import FileRef, Manifest, Precision, Variant, parse_manifest
from danet_runtime.errors import BundleError, IntegrityError, UsageError
from danet_runtime.files import sha256_of

MANIFEST_NAME = "manifest.json"
_MANIFEST_LIMIT_BYTES = 4 << 20


class Bundle:
    """A bundle on disk: its manifest, and its files once their hashes are checked.

    Attributes:
        path: The folder.
        manifest: What it says of itself.
        sha256: Hash of ``manifest.json``, and with it of every file that the manifest vouches for.
    """

    def __init__(self, path: Path, manifest: Manifest, sha256: str) -> None:
        self.path = path
        self.manifest = manifest
        self.sha256 = sha256

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read the manifest of the bundle at ``path``; its files are checked when they are read.

        Raises:
            BundleError: There is no bundle there.
            ManifestError: The manifest is not one of this version.
        """
        path = Path(path)
        file = path / MANIFEST_NAME
        if not path.exists():
            raise BundleError(f"{path} does not exist; expected a bundle folder as written by `danet export`")
        if not file.is_file():
            raise BundleError(
                f"{path} holds no {MANIFEST_NAME}; expected a folder as written by `danet export`"
            )
        if file.stat().st_size > _MANIFEST_LIMIT_BYTES:
            raise BundleError(f"{file} is larger than {_MANIFEST_LIMIT_BYTES} bytes; this is no manifest")
        text = file.read_bytes()
        return cls(path, parse_manifest(text, str(file)), sha256_of(text))

    def read(self, ref: FileRef) -> bytes:
        """The content of one file, checked against its size and hash.

        Raises:
            IntegrityError: It is missing, leads out of the bundle, or differs from what was written.
        """
        file = self.path / ref.path
        if not file.resolve().is_relative_to(self.path.resolve()):
            raise IntegrityError(f"{file} leads out of the bundle; export the bundle again")
        if not file.is_file():
            raise IntegrityError(f"{file} is missing; copy the bundle again, or export it again")
        size = file.stat().st_size
        if size != ref.bytes:
            raise IntegrityError(
                f"{file}: expected {ref.bytes} bytes, got {size}; copy or export the bundle again"
            )
        data = file.read_bytes()
        digest = sha256_of(data)
        if digest != ref.sha256:
            raise IntegrityError(
                f"{file}: expected sha256 {ref.sha256[:16]}..., got {digest[:16]}...; "
                "copy or export the bundle again"
            )
        return data

    def variant(self, precision: Precision) -> Variant:
        """The variant of one precision.

        Raises:
            UsageError: The bundle does not hold it.
        """
        try:
            return self.manifest.variants[precision]
        except KeyError:
            hint = "; `danet calibrate` makes an int8 variant" if precision == "int8" else ""
            held = ", ".join(self.manifest.variants)
            raise UsageError(f"{self.path} holds no {precision} variant, only {held}{hint}") from None

    def verify(self) -> None:
        """Check every file that the manifest vouches for.

        Raises:
            IntegrityError: The first that is missing or differs.
        """
        for ref in self.manifest.files():
            self.read(ref)
