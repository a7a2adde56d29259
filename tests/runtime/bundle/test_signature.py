"""Signed bundles: only the owner of a trusted key can change a byte, and nothing is parsed before."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danet_runtime.bundle import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    Bundle,
    manifest,
    reader,
    sign_bundle,
    verify_bundle,
)
from danet_runtime.bundle.signature import (
    DOMAIN,
    Signature,
    generate_key_pair,
    parse_signature,
    read_public_key,
    read_signing_key,
)
from danet_runtime.errors import IntegrityError, PassphraseNeededError, SignatureError, UsageError

FILES = (MANIFEST_NAME, SIGNATURE_NAME, "model.fp32.onnx", "golden/frame.png", "golden/labels.png")


def key_pair(folder: Path, name: str, passphrase: str | None = None) -> tuple[Path, Path]:
    private, public = generate_key_pair(passphrase)
    (folder / name).write_bytes(private)
    (folder / f"{name}.pub").write_bytes(public)
    return folder / name, folder / f"{name}.pub"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        key_pair(folder, name)
    return folder


@pytest.fixture
def signed(bundle: Bundle, keys: Path, tmp_path: Path) -> Path:
    shutil.copytree(bundle.path, tmp_path / "signed")
    sign_bundle(tmp_path / "signed", read_signing_key(keys / "ours"))
    return tmp_path / "signed"


@pytest.fixture
def no_parsing(signed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(*_arguments: object) -> None:
        raise AssertionError("the manifest was parsed before it was verified")

    monkeypatch.setattr(reader, "parse_manifest", parsed)
    monkeypatch.setattr(manifest.Manifest, "model_validate_json", parsed)
    monkeypatch.setattr(json, "loads", parsed)


def test_a_signed_bundle_opens_with_any_of_the_trusted_keys(signed: Path, keys: Path) -> None:
    ours, theirs = keys / "ours.pub", read_public_key(keys / "theirs.pub")
    opened = Bundle.open(signed, [theirs, str(ours)])
    assert opened.signed_by == read_public_key(ours).key_id
    assert Bundle.open(signed).signed_by is None
    assert opened.sha256 == Bundle.open(signed).sha256


@pytest.mark.usefixtures("no_parsing")
def test_an_unsigned_bundle_is_refused_before_it_is_parsed(bundle: Bundle, keys: Path) -> None:
    with pytest.raises(SignatureError, match=r"is not signed: it holds no manifest.json.sig"):
        Bundle.open(bundle.path, [keys / "ours.pub"])


@pytest.mark.usefixtures("no_parsing")
def test_another_key_is_refused_by_name_before_anything_is_parsed(signed: Path, keys: Path) -> None:
    theirs = read_public_key(keys / "theirs.pub")
    with pytest.raises(SignatureError, match=f"trusted: {theirs.key_id[:16]}"):
        Bundle.open(signed, [theirs])


@pytest.mark.usefixtures("no_parsing")
def test_a_manifest_of_another_bundle_is_refused_before_it_is_parsed(signed: Path, keys: Path) -> None:
    (signed / MANIFEST_NAME).write_bytes(b"{}")
    with pytest.raises(SignatureError, match="did not sign this manifest"):
        Bundle.open(signed, [keys / "ours.pub"])


@pytest.mark.usefixtures("no_parsing")
def test_a_signature_that_names_our_key_but_is_by_another_is_refused(signed: Path, keys: Path) -> None:
    data = (signed / MANIFEST_NAME).read_bytes()
    forged = read_signing_key(keys / "theirs").sign(data)
    claim = Signature(read_public_key(keys / "ours.pub").key_id, forged.value)
    (signed / SIGNATURE_NAME).write_bytes(claim.to_bytes())
    with pytest.raises(SignatureError, match="did not sign this manifest"):
        Bundle.open(signed, [keys / "ours.pub"])


def test_a_signature_of_the_bare_bytes_is_none_of_a_bundle(signed: Path, keys: Path) -> None:
    key = read_signing_key(keys / "ours")
    bare = key._private.sign((signed / MANIFEST_NAME).read_bytes())
    (signed / SIGNATURE_NAME).write_bytes(Signature(key.public.key_id, bare).to_bytes())
    with pytest.raises(SignatureError, match="did not sign this manifest"):
        Bundle.open(signed, [keys / "ours.pub"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(name=st.sampled_from(FILES), where=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_one_changed_byte_of_any_file_is_refused(
    signed: Path, keys: Path, name: str, where: float, flip: int
) -> None:
    file = signed / name
    whole = file.read_bytes()
    changed = bytearray(whole)
    changed[int(where * len(whole))] ^= flip
    file.write_bytes(changed)
    try:
        with pytest.raises(SignatureError if name.startswith("manifest") else IntegrityError):
            Bundle.open(signed, [keys / "ours.pub"])
    finally:
        file.write_bytes(whole)
    Bundle.open(signed, [keys / "ours.pub"])


def test_an_empty_list_of_keys_does_not_mean_that_all_are_trusted(signed: Path, keys: Path) -> None:
    for wrong in ([], (), str(keys / "ours.pub"), keys / "ours.pub"):
        with pytest.raises(UsageError, match="a list of at least one key"):
            Bundle.open(signed, wrong)


@pytest.mark.parametrize("damage", ["link", "large", "folder"])
def test_the_signature_itself_must_be_a_small_plain_file(
    signed: Path, keys: Path, tmp_path: Path, damage: str
) -> None:
    file = signed / SIGNATURE_NAME
    file.rename(tmp_path / "sig")
    if damage == "link":
        file.symlink_to(tmp_path / "sig")
    elif damage == "large":
        file.write_bytes(b" " * 5000)
    else:
        file.mkdir()
    with pytest.raises(IntegrityError):
        Bundle.open(signed, [keys / "ours.pub"])


@given(st.text("0123456789abcdef", min_size=64, max_size=64), st.binary(min_size=64, max_size=64))
def test_a_signature_is_read_as_it_was_written(key_id: str, value: bytes) -> None:
    signature = Signature(key_id, value)
    assert parse_signature(signature.to_bytes(), "x") == signature


@given(st.binary(max_size=300))
def test_whatever_else_is_no_signature(data: bytes) -> None:
    with pytest.raises(SignatureError, match="sign the bundle again"):
        parse_signature(data, "x")


@pytest.mark.parametrize(
    "change", [(b" 1 ", b" 2 "), (b"ed25519", b"ed448"), (b"\n", b"\r\n"), (b"key", b"KEY")]
)
def test_another_version_or_form_is_refused_with_what_to_do(change: tuple[bytes, bytes]) -> None:
    data = Signature("0" * 64, b"x" * 64).to_bytes().replace(*change)
    with pytest.raises(SignatureError, match=r"sign (it|the bundle) again"):
        parse_signature(data, "x")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine")
def test_openssl_verifies_what_was_signed_and_signs_what_verifies(
    signed: Path, keys: Path, tmp_path: Path
) -> None:
    def openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    message, value = tmp_path / "message", tmp_path / "value"
    message.write_bytes(b"danet-bundle-manifest-v1\x00" + (signed / MANIFEST_NAME).read_bytes())
    lines = (signed / SIGNATURE_NAME).read_text().splitlines()
    value.write_bytes(bytes.fromhex(lines[2].removeprefix("signature ")))
    openssl(
        *("pkeyutl", "-verify", "-pubin", "-inkey", keys / "ours.pub", "-rawin"),
        *("-in", message, "-sigfile", value),
    )
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", keys / "ours.pub", "-outform", "DER"],
        check=True,
        capture_output=True,
    ).stdout
    assert lines[1] == f"key {hashlib.sha256(der[-32:]).hexdigest()}"

    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key")
    openssl("pkey", "-in", tmp_path / "key", "-pubout", "-out", tmp_path / "key.pub")
    sign_bundle(signed, read_signing_key(tmp_path / "key"), overwrite=True)
    assert (
        Bundle.open(signed, [tmp_path / "key.pub"]).signed_by == read_public_key(tmp_path / "key.pub").key_id
    )


def test_what_is_signed_begins_with_the_formats_own_prefix() -> None:
    assert DOMAIN == b"danet-bundle-manifest-v1\x00"


def test_only_a_whole_bundle_is_signed(bundle: Bundle, keys: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle.path, tmp_path / "b")
    key = read_signing_key(keys / "ours")
    (tmp_path / "b" / "notes.txt").touch()
    with pytest.raises(IntegrityError, match=r"does not vouch for: notes.txt"):
        sign_bundle(tmp_path / "b", key)
    (tmp_path / "b" / "notes.txt").unlink()
    (tmp_path / "b" / FILES[2]).write_bytes(b"x")
    with pytest.raises(IntegrityError, match="nothing was signed"):
        sign_bundle(tmp_path / "b", key)
    assert not (tmp_path / "b" / SIGNATURE_NAME).exists()


def test_a_signature_is_replaced_only_on_request_and_never_through_a_link(
    signed: Path, keys: Path, tmp_path: Path
) -> None:
    theirs = read_signing_key(keys / "theirs")
    with pytest.raises(UsageError, match="exists already"):
        sign_bundle(signed, theirs)
    (signed / SIGNATURE_NAME).rename(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere").read_bytes()
    (signed / SIGNATURE_NAME).symlink_to(tmp_path / "elsewhere")
    sign_bundle(signed, theirs, overwrite=True)
    assert (tmp_path / "elsewhere").read_bytes() == before
    assert Bundle.open(signed, [keys / "theirs.pub"]).signed_by == theirs.public.key_id


def test_an_interrupted_signing_leaves_no_signature(
    bundle: Bundle, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bundle.path, tmp_path / "b")

    def full(_path: Path, _target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        sign_bundle(tmp_path / "b", read_signing_key(keys / "ours"))
    assert verify_bundle(tmp_path / "b").whole
    assert not (tmp_path / "b" / SIGNATURE_NAME).exists()


def test_a_file_that_the_manifest_does_not_name_is_a_stranger_of_a_signed_bundle(
    signed: Path, keys: Path, tmp_path: Path
) -> None:
    assert verify_bundle(signed, [keys / "ours.pub"]).whole
    (signed / "golden" / "x.so").touch()
    (signed / "link").symlink_to(tmp_path)
    (signed / "escape\x1b[2J").touch()
    verdict = verify_bundle(signed, [keys / "ours.pub"])
    assert not verdict.whole
    assert set(verdict.strangers) == {"golden/x.so", "link", r"'escape\x1b[2J'"}
    assert Bundle.open(signed, [keys / "ours.pub"]).signed_by


def test_verification_names_every_damaged_file_not_the_first(signed: Path, keys: Path) -> None:
    (signed / FILES[2]).unlink()
    (signed / FILES[3]).write_bytes(b"x")
    verdict = verify_bundle(signed, [keys / "ours.pub"])
    assert [name for name in FILES if any(name in text for text in verdict.damaged)] == [FILES[2], FILES[3]]


def test_an_encrypted_key_opens_with_its_passphrase_alone(tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "k", "horse")
    assert b"ENCRYPTED" in private.read_bytes()
    assert read_signing_key(private, "horse").public.raw == read_public_key(public).raw
    with pytest.raises(PassphraseNeededError):
        read_signing_key(private)
    with pytest.raises(UsageError, match="passphrase is not the right one"):
        read_signing_key(private, "donkey")


def test_what_is_no_ed25519_key_is_refused_with_what_came(tmp_path: Path, keys: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    other = ec.generate_private_key(ec.SECP256R1())
    private = other.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = other.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    cases = [
        (read_signing_key, private, "expected an Ed25519 private key"),
        (read_public_key, public, "expected an Ed25519 public key"),
        (read_public_key, b"hello", "no public key in PEM; give the KEY.pub"),
        (read_signing_key, b"hello", "no private key could be read .it holds none in PEM; give the KEY"),
        (read_public_key, b" " * 70000, "this is no key"),
        (read_public_key, (keys / "ours").read_bytes(), "is a private key; give the public one"),
        (read_signing_key, (keys / "ours.pub").read_bytes(), "no private key could be read"),
    ]
    for read, data, message in cases:
        (tmp_path / "k").write_bytes(data)
        with pytest.raises(UsageError, match=message):
            read(tmp_path / "k")
    with pytest.raises(UsageError, match="is not a file"):
        read_public_key(tmp_path / "absent")
