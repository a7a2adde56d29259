"""Opening a bundle: nothing in it is parsed before it has been checked.

Every file is read once, hashed, and what was hashed is what is handed on; no reader opens a file of a
bundle by its path. Where keys are given, the manifest's own bytes are verified before they are parsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danet_runtime.bundle.folder import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    hash_exactly,
    read_exactly,
    read_inside,
)
from danet_runtime.bundle.manifest import FileRef, Manifest, Precision, Variant, parse_manifest
from danet_runtime.bundle.model_file import check_model_file
from danet_runtime.bundle.signature import PublicKey, parse_signature, read_public_key, verify_signature
from danet_runtime.errors import BundleError, IntegrityError, NoBundleError, SignatureError, UsageError
from danet_runtime.files.atomic import sha256_of

__all__ = ["MANIFEST_NAME", "SIGNATURE_NAME", "Bundle", "TrustedKey", "read_manifest"]

TrustedKey = PublicKey | str | Path
"""A key, or the PEM file of one."""

_MANIFEST_LIMIT_BYTES = 4 << 20
_SIGNATURE_LIMIT_BYTES = 4 << 10


class Bundle:
    """A bundle on disk: its manifest, and its files once their hashes are checked.

    Attributes:
        path: The folder.
        manifest: The content of ``manifest.json``.
        sha256: Hash of ``manifest.json``, and with it of every file that the manifest vouches for.
        signed_by: Id of the trusted key whose signature was verified; ``None`` where none was asked for.
    """

    def __init__(self, path: Path, manifest: Manifest, sha256: str, signed_by: str | None = None) -> None:
        self.path = path
        self.manifest = manifest
        self.sha256 = sha256
        self.signed_by = signed_by

    @classmethod
    def open(
        cls, path: str | Path, trusted_keys: Sequence[TrustedKey] | None = None, *, check_files: bool = True
    ) -> Bundle:
        """Read the manifest of the bundle at ``path``.

        Args:
            path: The folder.
            trusted_keys: Accept the bundle only with a valid signature by one of these keys; every file is
                then checked at once, else each is checked when it is read. ``None`` asks for no signature.
            check_files: Whether to check every file now, where keys are given.

        Raises:
            BundleError: There is no bundle there.
            SignatureError: None of the keys signed this manifest; nothing of it has been parsed.
            IntegrityError: The manifest leads elsewhere; with keys, also where a file is missing or differs.
            ManifestError: The manifest is not one of this version.
            UsageError: A key cannot be read, or the sequence of keys is empty.
            MissingDependencyError: Keys are given and ``cryptography`` is not installed.
        """
        path = Path(path)
        keys = None if trusted_keys is None else _keys(trusted_keys)
        data = read_manifest(path)
        signed_by = None if keys is None else _verified(path, data, keys)
        bundle = cls(path, parse_manifest(data, str(path / MANIFEST_NAME)), sha256_of(data), signed_by)
        if keys is not None and check_files:
            bundle.verify()
        return bundle

    def read(self, ref: FileRef) -> bytes:
        """The content of one file, checked against its size and hash; of a model, also what it may hold.

        Raises:
            IntegrityError: It is missing, leads out of the bundle, is no plain file, or differs from what was
                written; a model file names data or code outside of it
                (:mod:`danet_runtime.bundle.model_file`).
        """
        try:
            data = read_exactly(self.path, ref.path, size=ref.bytes)
        except FileNotFoundError:
            raise self._missing(ref) from None
        self._require(ref, sha256_of(data))
        if self._is_model(ref):
            check_model_file(data, str(self.path / ref.path))
        return data

    def check(self, ref: FileRef) -> None:
        """Check one file as :meth:`read` does; in constant memory, but for a model, which is looked into.

        Raises:
            IntegrityError: The file fails a check of :meth:`read`.
        """
        if self._is_model(ref):
            self.read(ref)
            return
        try:
            digest = hash_exactly(self.path, ref.path, size=ref.bytes)
        except FileNotFoundError:
            raise self._missing(ref) from None
        self._require(ref, digest)

    def _is_model(self, ref: FileRef) -> bool:
        """By its use or by its name: whoever writes a manifest chooses both."""
        return ref in self.manifest.model_files() or ref.path.lower().endswith(".onnx")

    def _missing(self, ref: FileRef) -> IntegrityError:
        return IntegrityError(f"{self.path / ref.path} is missing; copy the bundle again, or export it again")

    def _require(self, ref: FileRef, digest: str) -> None:
        if digest != ref.sha256:
            raise IntegrityError(
                f"{self.path / ref.path}: expected sha256 {ref.sha256[:16]}..., got {digest[:16]}...; "
                "copy or export the bundle again"
            )

    def variant(self, precision: Precision) -> Variant:
        """The variant of one precision.

        Raises:
            UsageError: The bundle does not hold it.
        """
        try:
            return self.manifest.variants[precision]
        except KeyError:
            maker = "calibrate" if precision == "int8" else "export"
            hint = f"; `danet {maker}` makes an {precision} variant"
            held = ", ".join(self.manifest.variants)
            raise UsageError(f"{self.path} holds no {precision} variant, only {held}{hint}") from None

    def conv_mac_share_int8(self, precision: Precision) -> float | None:
        """Share of one variant's convolution MACs that run on INT8; ``None`` where the manifest does not say.

        Raises:
            UsageError: The bundle does not hold the variant.
        """
        quantisation = self.variant(precision).quantisation
        if quantisation is not None:
            return quantisation.conv_mac_share_int8
        return None if precision == "int8" else 0.0

    def describe(self, precision: Precision) -> dict[str, Any]:
        """Path, hash of the manifest, precision and share of convolution MACs on INT8, for reports.

        Raises:
            UsageError: The bundle does not hold the variant.
        """
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "precision": precision,
            "conv_mac_share_int8": self.conv_mac_share_int8(precision),
        }

    def verify(self) -> None:
        """Check every file that the manifest vouches for.

        Raises:
            IntegrityError: The first that is missing or differs.
        """
        for ref in self.manifest.files():
            self.check(ref)


def read_manifest(path: Path) -> bytes:
    """The bytes of a bundle's manifest, not parsed.

    Raises:
        NoBundleError: There is nothing at all there.
        BundleError: There is no bundle there.
        IntegrityError: The manifest is no plain file, or too large.
    """
    if not path.exists():
        raise NoBundleError(f"{path} does not exist; expected a bundle folder as written by `danet export`")
    if not path.is_dir():
        raise BundleError(f"{path} is no folder; expected a bundle as written by `danet export`")
    try:
        return read_inside(path, MANIFEST_NAME, limit_bytes=_MANIFEST_LIMIT_BYTES)
    except FileNotFoundError:
        raise BundleError(
            f"{path} holds no {MANIFEST_NAME}; expected a folder as written by `danet export`"
        ) from None


def _keys(trusted: Sequence[TrustedKey]) -> list[PublicKey]:
    if isinstance(trusted, str | Path | PublicKey) or not trusted:
        raise UsageError(
            "trusted_keys must be a list of at least one key; None, and no empty list, asks for no signature"
        )
    return [key if isinstance(key, PublicKey) else read_public_key(Path(key)) for key in trusted]


def _verified(path: Path, manifest: bytes, keys: list[PublicKey]) -> str:
    file = path / SIGNATURE_NAME
    try:
        data = read_inside(path, SIGNATURE_NAME, limit_bytes=_SIGNATURE_LIMIT_BYTES)
    except FileNotFoundError:
        raise SignatureError(
            f"{path} is not signed: it holds no {SIGNATURE_NAME}; expected a bundle signed by a trusted key "
            "(`danet sign` signs one)"
        ) from None
    return verify_signature(manifest, parse_signature(data, str(file)), keys, str(file)).key_id
