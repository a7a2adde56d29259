"""``danet keygen``: a key to sign bundles with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from danet_runtime.cli.console.printing import tell
from danet_runtime.cli.options.arguments import PASSPHRASE_VARIABLE


def keygen(
    key: Annotated[Path, typer.Argument(help="File for the private key; the public one goes to KEY.pub.")],
    passphrase: Annotated[
        bool,
        typer.Option(
            "--passphrase", help=f"Encrypt the private key; asked for, or from {PASSPHRASE_VARIABLE}."
        ),
    ] = False,
) -> None:
    """Make a key pair to sign bundles with.

    The same as `openssl genpkey -algorithm ed25519 -out KEY` and `openssl pkey -in KEY -pubout -out KEY.pub`;
    keys made so can be used too.

    Example: danet keygen vehicle.pem --passphrase
    """
    from danet_runtime.bundle.signature import generate_key_pair, read_public_key
    from danet_runtime.errors import UsageError
    from danet_runtime.files.atomic import check_file_target
    from danet_runtime.files.durability import make_folder, sync_folder

    public = key.with_name(key.name + ".pub")
    for file in (key, public):
        check_file_target(file)
        if os.path.lexists(file):
            raise UsageError(f"{file} exists already; keys are never replaced: give another path")
    secret = os.environ.get(PASSPHRASE_VARIABLE)
    if passphrase and not secret:
        secret = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
    private_pem, public_pem = generate_key_pair(secret if passphrase else None)
    make_folder(key.parent)
    _create(key, private_pem, 0o600)
    try:
        _create(public, public_pem, 0o644)
    except BaseException:
        key.unlink()
        raise
    sync_folder(key.parent)
    tell(
        f"private key: {key}" + ("" if passphrase else " (not encrypted: keep it where only you can read it)")
    )
    tell(f"public key:  {public}")
    tell(f"key id:      {read_public_key(public).key_id}")


def _create(file: Path, data: bytes, mode: int) -> None:
    """Write a new file that has its rights from the first byte on; never an existing one."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
    except BaseException:
        file.unlink()
        raise
