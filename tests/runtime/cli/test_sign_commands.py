"""``danet keygen``, ``sign``, ``verify`` and ``--trusted-key``, as they are typed."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from danet_runtime.bundle import MANIFEST_NAME, SIGNATURE_NAME, Bundle
from danet_runtime.cli.app import build_app
from danet_runtime.errors import DanetError, SignatureError, UsageError

pytestmark = pytest.mark.slow  # processes, or whole exports, by the dozen

VARIABLE = "DANET_KEY_PASSPHRASE"


def danet(*arguments: object, **named: object) -> Result:
    return CliRunner().invoke(build_app(), [str(argument) for argument in arguments], **named)


@pytest.fixture
def place(bundle: Bundle, tmp_path: Path) -> Path:
    """A folder with a bundle, and a key that has signed it."""
    shutil.copytree(bundle.path, tmp_path / "bundle")
    assert danet("keygen", tmp_path / "key").exit_code == 0
    assert danet("sign", tmp_path / "bundle", "--key", tmp_path / "key").exit_code == 0
    return tmp_path


def test_a_key_is_readable_by_its_owner_alone_and_never_replaced(tmp_path: Path) -> None:
    done = danet("keygen", tmp_path / "sub" / "key")
    assert done.exit_code == 0, done.output
    assert "not encrypted" in done.output
    private, public = tmp_path / "sub" / "key", tmp_path / "sub" / "key.pub"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes()
    for absent in (public, private):
        assert isinstance(danet("keygen", private).exception, UsageError)
        absent.unlink()
        if absent is public:
            assert isinstance(danet("keygen", private).exception, UsageError)
            assert private.read_bytes() == before
    private.symlink_to(tmp_path / "elsewhere")
    assert isinstance(danet("keygen", private).exception, UsageError)
    assert not (tmp_path / "elsewhere").exists()


def test_an_encrypted_key_takes_its_passphrase_from_the_prompt_or_the_environment(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = danet("keygen", place / "asked", "--passphrase", input="horse\nhorse\n")
    assert made.exit_code == 0, made.output
    assert b"ENCRYPTED" in (place / "asked").read_bytes()
    assert "horse" not in made.output
    sign = ("sign", place / "bundle", "--overwrite", "--key", place / "asked")
    refused = danet(*sign)
    assert isinstance(refused.exception, UsageError)
    assert VARIABLE in str(refused.exception)
    monkeypatch.setenv(VARIABLE, "horse")
    assert danet(*sign).exit_code == 0
    assert danet("verify", place / "bundle", "--trusted-key", place / "asked.pub").exit_code == 0
    assert danet("keygen", place / "quiet", "--passphrase").exit_code == 0
    assert b"ENCRYPTED" in (place / "quiet").read_bytes()


def test_a_bundle_that_is_not_there_is_wrong_usage_for_every_command(place: Path) -> None:
    nowhere = place / "nowhere"
    for command in (
        ("sign", nowhere, "--key", place / "key"),
        ("verify", nowhere),
        ("verify", nowhere, "--json", "-"),
        ("doctor", nowhere),
        ("build", nowhere, "--target", "sm_89"),
        ("profile", nowhere),
        ("profile", place / "bundle", "--image", nowhere),
        ("replay", nowhere),
        ("compare", nowhere, "--data", place, "-o", place / "out"),
    ):
        done = danet(*command)
        code = (
            done.exit_code if done.exception is None else getattr(done.exception, "exit_code", done.exit_code)
        )
        assert code == 2, command
        assert "does not exist" in (done.output + str(done.exception)), command


def test_verify_says_who_vouches_and_that_nobody_does_without_a_key(place: Path) -> None:
    signed = danet("verify", place / "bundle", "--trusted-key", place / "key.pub")
    assert signed.exit_code == 0
    assert "signed by the trusted key" in signed.output
    unchecked = danet("verify", place / "bundle")
    assert unchecked.exit_code == 0
    assert "signature was not checked (no --trusted-key), so nobody vouches" in unchecked.output
    (place / "bundle" / SIGNATURE_NAME).unlink()
    unsigned = danet("verify", place / "bundle")
    assert unsigned.exit_code == 0
    assert "not signed, so nobody vouches" in unsigned.output


def test_verify_fails_for_damage_for_strangers_and_for_the_wrong_key_also_as_json(place: Path) -> None:
    danet("keygen", place / "other")
    wrong = danet("verify", place / "bundle", "--trusted-key", place / "other.pub", "--json", "-")
    assert (wrong.exit_code, json.loads(wrong.stdout)["kind"]) == (1, "SignatureError")
    (place / "bundle" / "extra").touch()
    (place / "bundle" / "golden" / "frame.png").unlink()
    answer = danet("verify", place / "bundle")
    assert answer.exit_code == 1
    assert "not in the manifest: extra" in answer.output
    assert "frame.png is missing" in answer.output
    found = json.loads(danet("verify", place / "bundle", "--json", "-").stdout)
    assert (found["whole"], found["strangers"], len(found["damaged"])) == (False, ["extra"], 1)


def _commands(place: Path, video: Path) -> dict[str, tuple[object, ...]]:
    bundle = place / "bundle"
    return {
        "run": ("run", bundle, video, "-o", place / "out.mp4"),
        "profile": ("profile", bundle, "--frames", 1, "--warmup", 0),
        "compare": ("compare", bundle, "--data", video, "--b", "onnxruntime:fp32", "-o", place / "cmp"),
        "build": (
            "build",
            bundle,
            "--target",
            "sm_89",
            "--precision",
            "fp32",
            "--engine-dir",
            place / "engines",
        ),
    }


@pytest.mark.parametrize("name", ["run", "profile", "compare", "build"])
def test_a_command_with_a_trusted_key_takes_only_what_it_signed(
    place: Path, name: str, video_maker: Callable[..., Path]
) -> None:
    video = video_maker(place / "in.mp4", 4)
    command = _commands(place, video)[name]
    danet("keygen", place / "other")
    if name != "build":  # the tiny model of these tests has no custom nodes to lower
        done = danet(*command, "--trusted-key", place / "other.pub", "--trusted-key", place / "key.pub")
        assert done.exit_code == 0, done.output
    refused = danet(*command, "--trusted-key", place / "other.pub", *_replacing(name))
    assert isinstance(refused.exception, SignatureError), refused.output
    manifest = place / "bundle" / MANIFEST_NAME
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    changed = danet(*command, "--trusted-key", place / "key.pub", *_replacing(name))
    assert isinstance(changed.exception, SignatureError), changed.output


def _replacing(name: str) -> list[str]:
    return ["--overwrite"] if name in ("run", "compare") else []


def test_signing_what_is_no_bundle_is_an_error_not_a_crash(place: Path) -> None:
    for path in (place, place / "absent", place / "key"):
        assert isinstance(danet("sign", path, "--key", place / "key").exception, DanetError)
