"""A whole bundle: whether every file is the one that was written, and signing what is whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from danet_runtime.bundle.folder import MANIFEST_NAME, SIGNATURE_NAME, list_files
from danet_runtime.bundle.manifest import parse_manifest
from danet_runtime.bundle.reader import Bundle, TrustedKey, read_manifest
from danet_runtime.bundle.signature import SigningKey
from danet_runtime.errors import IntegrityError, UsageError
from danet_runtime.files.atomic import replacing, sha256_of


@dataclass(frozen=True)
class Verdict:
    """The result of verifying a bundle.

    Attributes:
        sha256: Hash of the manifest.
        signed_by: Id of the trusted key whose signature holds; ``None`` where none was given to check by.
        signature_file: Whether the bundle carries a signature, checked or not.
        files: How many files the manifest vouches for.
        damaged: One message a file that is missing, leads out of the bundle or differs.
        strangers: Paths in the folder that the manifest does not vouch for; where such a name holds control
            characters, as Python's ``ascii`` writes it.
    """

    sha256: str
    signed_by: str | None
    signature_file: bool
    files: int
    damaged: tuple[str, ...]
    strangers: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether every file is the one that was written, and there is no other."""
        return not self.damaged and not self.strangers

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"whole": self.whole, **asdict(self)}


def verify_bundle(path: Path, trusted_keys: Sequence[TrustedKey] | None = None) -> Verdict:
    """Check the signature, then every file, then that there is no other file.

    Args:
        path: The bundle's folder.
        trusted_keys: Keys whose signatures are accepted; ``None``: only the hashes are checked.

    Raises:
        BundleError: There is no bundle there, or its manifest leads elsewhere or is of another version.
        SignatureError: It is not signed by one of the keys; nothing of it was parsed.
        UsageError: A key cannot be read, or the sequence of keys is empty.
    """
    bundle = Bundle.open(path, trusted_keys, check_files=False)
    return examine(bundle)


def examine(bundle: Bundle) -> Verdict:
    """Check every file of an open bundle; see :func:`verify_bundle`."""
    vouched = {ref.path: ref for ref in bundle.manifest.files()}
    damaged = []
    for ref in vouched.values():
        try:
            bundle.check(ref)
        except IntegrityError as error:
            damaged.append(str(error))
    there = list(list_files(bundle.path))
    own = {*vouched, MANIFEST_NAME, SIGNATURE_NAME}
    return Verdict(
        sha256=bundle.sha256,
        signed_by=bundle.signed_by,
        signature_file=SIGNATURE_NAME in there,
        files=len(vouched),
        damaged=tuple(damaged),
        strangers=tuple(name if name.isprintable() else ascii(name) for name in there if name not in own),
    )


def sign_bundle(path: Path, key: SigningKey, *, overwrite: bool = False) -> Path:
    """Sign a bundle whose files are all whole; nothing else in it changes.

    Args:
        path: The bundle's folder.
        key: Private key that the bundle is signed with.
        overwrite: Whether a signature that is there may be replaced.

    Returns:
        The file with the signature; it appears whole or not at all.

    Raises:
        BundleError: There is no bundle there, or its manifest is of another version.
        IntegrityError: A file is missing, differs, or is not the manifest's.
        UsageError: There is a signature already.
    """
    data = read_manifest(path)
    bundle = Bundle(path, parse_manifest(data, str(path / MANIFEST_NAME)), sha256_of(data))
    verdict = examine(bundle)
    if verdict.signature_file and not overwrite:
        raise UsageError(f"{path / SIGNATURE_NAME} exists already; --overwrite replaces it")
    if verdict.damaged:
        raise IntegrityError(f"{verdict.damaged[0]}; nothing was signed")
    if verdict.strangers:
        raise IntegrityError(
            f"{path} holds what its manifest does not vouch for: {', '.join(verdict.strangers[:8])}; "
            "remove it, then sign"
        )
    file = path / SIGNATURE_NAME
    with replacing(file, follow=False) as partial:
        partial.write_bytes(key.sign(data).to_bytes())
    return file
