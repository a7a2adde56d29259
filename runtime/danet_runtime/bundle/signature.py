"""Signatures of bundles: Ed25519 (RFC 8032) over the exact bytes of the manifest, in a file beside it.

The manifest holds the hash of every file, so who signs it vouches for all of them. Signed is a prefix that
belongs to this format alone (:data:`DOMAIN`) and then the bytes of ``manifest.json``; so no signature made
for another purpose with the same key passes for one of a bundle. ``manifest.json.sig`` is three lines of
ASCII, and nothing else is accepted::

    danet-bundle-signature 1 ed25519
    key KEY_ID          SHA-256 of the 32 bytes of the public key, 64 hexadecimal digits
    signature VALUE     64 bytes, 128 hexadecimal digits

Keys are PEM files as OpenSSL writes them: PKCS8 for the private, SubjectPublicKeyInfo for the public key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from danet_runtime.dependencies import CRYPTOGRAPHY, require
from danet_runtime.errors import PassphraseNeededError, SignatureError, UsageError
from danet_runtime.files.atomic import sha256_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

DOMAIN = b"danet-bundle-manifest-v1\x00"
"""Prefix of the signed bytes; the manifest's bytes follow it."""

_HEAD = "danet-bundle-signature 1 ed25519"
_FORM = re.compile(
    rb"danet-bundle-signature ([0-9]{1,4}) ([a-z0-9]{1,16})\nkey ([0-9a-f]{64})\nsignature ([0-9a-f]{128})\n"
)
_KEY_FILE_LIMIT_BYTES = 64 << 10


@dataclass(frozen=True)
class Signature:
    """The content of ``manifest.json.sig``.

    Attributes:
        key_id: Id of the key that it claims to be made with; a claim until it is verified.
        value: The signature itself, 64 bytes.
    """

    key_id: str
    value: bytes

    def to_bytes(self) -> bytes:
        """The file's content."""
        return f"{_HEAD}\nkey {self.key_id}\nsignature {self.value.hex()}\n".encode("ascii")


@dataclass(frozen=True)
class PublicKey:
    """A key whose signatures are accepted.

    Attributes:
        raw: The key itself, 32 bytes.
        origin: The file it was read from, for messages.
    """

    raw: bytes
    origin: str

    @property
    def key_id(self) -> str:
        """SHA-256 of the 32 bytes, as 64 hexadecimal digits."""
        return sha256_of(self.raw)


@dataclass(frozen=True)
class SigningKey:
    """A private key; it never leaves this object as text.

    Attributes:
        public: Its public half.
    """

    _private: Ed25519PrivateKey
    public: PublicKey

    def sign(self, manifest: bytes) -> Signature:
        """Sign the bytes of a manifest, and verify the signature before it is given away.

        Raises:
            SignatureError: The signature does not verify: this machine computes wrongly.
        """
        signature = Signature(self.public.key_id, self._private.sign(DOMAIN + manifest))
        verify_signature(manifest, signature, [self.public], "the new signature")
        return signature


def parse_signature(data: bytes, origin: str) -> Signature:
    """Read the content of ``manifest.json.sig``.

    Raises:
        SignatureError: It is not of the form above, or of another version or algorithm.
    """
    match = _FORM.fullmatch(data)
    if match is None:
        raise SignatureError(f"{origin} is no signature as `danet sign` writes it; sign the bundle again")
    version, algorithm, key_id, value = (group.decode("ascii") for group in match.groups())
    if (version, algorithm) != ("1", "ed25519"):
        raise SignatureError(
            f"{origin}: expected version 1, ed25519; got version {version}, {algorithm}; "
            "use the danet version that signed the bundle, or sign it again with this one"
        )
    return Signature(key_id, bytes.fromhex(value))


def verify_signature(
    manifest: bytes, signature: Signature, trusted: Sequence[PublicKey], origin: str
) -> PublicKey:
    """Find the trusted key that made the signature.

    Args:
        manifest: The exact bytes of ``manifest.json``.
        signature: The claim.
        trusted: Keys whose signatures are accepted; no other signature is.
        origin: Name of the signature in error messages.

    Returns:
        The key.

    Raises:
        SignatureError: Another key made it, or these are not the bytes that were signed.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    require(CRYPTOGRAPHY)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = next((key for key in trusted if key.key_id == signature.key_id), None)
    if key is None:
        known = ", ".join(f"{key.key_id[:16]} ({key.origin})" for key in trusted)
        raise SignatureError(
            f"{origin} is by the key {signature.key_id[:16]}; trusted: {known}. Take the bundle from whom "
            "you trust, or trust that key after its owner told you its id"
        )
    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(signature.value, DOMAIN + manifest)
    except InvalidSignature:
        raise SignatureError(
            f"{origin} names the key {key.key_id[:16]} ({key.origin}), but that key did not sign this "
            "manifest; it was changed afterwards, or the signature is forged: get the bundle again"
        ) from None
    return key


def read_public_key(file: Path) -> PublicKey:
    """Read a public key from a PEM file.

    Raises:
        UsageError: There is no such file, or it holds no Ed25519 public key.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    require(CRYPTOGRAPHY)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read_key(file)
    if b"PRIVATE KEY" in data:
        raise UsageError(
            f"{file} is a private key; give the public one, which `danet keygen` wrote beside it"
        )
    try:
        key = load_pem_public_key(data)
    except Exception as error:  # ValueError, UnsupportedAlgorithm, and what other versions raise
        raise UsageError(
            f"{file} holds no public key in PEM; give the KEY.pub that `danet keygen` wrote"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{file}: expected an Ed25519 public key, got {type(key).__name__}")
    return _public(key, str(file))


def read_signing_key(file: Path, passphrase: str | None = None) -> SigningKey:
    """Read a private key from a PEM file.

    Args:
        file: Path of the key's file, PKCS8 in PEM.
        passphrase: Passphrase of the key, where it is encrypted.

    Raises:
        PassphraseNeededError: The key is encrypted and no passphrase was given.
        UsageError: There is no such file, it holds no Ed25519 private key, or the passphrase is another.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    require(CRYPTOGRAPHY)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read_key(file)
    encrypted = b"ENCRYPTED PRIVATE KEY" in data
    if encrypted and not passphrase:
        raise PassphraseNeededError(f"{file} is encrypted and needs its passphrase")
    try:
        key = load_pem_private_key(data, passphrase.encode() if encrypted and passphrase else None)
    except Exception as error:  # the messages of cryptography hold no key material, but they vary
        reason = "the passphrase is not the right one, or the file is damaged"
        if not encrypted:
            reason = "it holds none in PEM; give the KEY that `danet keygen` wrote, not KEY.pub"
        raise UsageError(f"{file}: no private key could be read ({reason})") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{file}: expected an Ed25519 private key, got {type(key).__name__}")
    return SigningKey(key, _public(key.public_key(), str(file)))


def generate_key_pair(passphrase: str | None = None) -> tuple[bytes, bytes]:
    """A new key as PEM, private and public; the private one encrypted where a passphrase is given.

    Raises:
        MissingDependencyError: ``cryptography`` is not installed.
    """
    require(CRYPTOGRAPHY)
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, public


def _public(key: Ed25519PublicKey, origin: str) -> PublicKey:
    from cryptography.hazmat.primitives import serialization

    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return PublicKey(raw, origin)


def _read_key(file: Path) -> bytes:
    if not file.is_file():
        raise UsageError(f"{file} is not a file; expected a key in PEM, as `danet keygen` writes it")
    if file.stat().st_size > _KEY_FILE_LIMIT_BYTES:
        raise UsageError(f"{file} is larger than {_KEY_FILE_LIMIT_BYTES} bytes; this is no key")
    return file.read_bytes()
