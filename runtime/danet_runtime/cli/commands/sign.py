"""``danet sign``: vouch for a bundle with a key."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from danet_runtime.cli.console.printing import tell
from danet_runtime.cli.options.arguments import PASSPHRASE_VARIABLE

if TYPE_CHECKING:
    from danet_runtime.bundle.signature import SigningKey


def sign(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    key: Annotated[
        Path,
        typer.Option(
            help="Private Ed25519 key, PKCS8 in PEM, as `danet keygen` writes it; the passphrase of an "
            f"encrypted one is asked for, or taken from {PASSPHRASE_VARIABLE}."
        ),
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a signature that is there.")
    ] = False,
) -> None:
    """Sign a bundle: its manifest, and with it every file. All files are checked before.

    Example: danet sign bundle --key vehicle.pem
    """
    from danet_runtime.bundle.verification import sign_bundle

    signing = _signing_key(key)
    written = sign_bundle(bundle, signing, overwrite=overwrite)
    tell(f"written: {written}")
    tell(f"key id:  {signing.public.key_id}")


def _signing_key(file: Path) -> SigningKey:
    from danet_runtime.bundle.signature import read_signing_key
    from danet_runtime.errors import PassphraseNeededError

    try:
        return read_signing_key(file, os.environ.get(PASSPHRASE_VARIABLE))
    except PassphraseNeededError as error:
        if not sys.stdin.isatty():
            raise PassphraseNeededError(
                f"{error}; set {PASSPHRASE_VARIABLE}, or run this in a terminal to be asked"
            ) from error
    return read_signing_key(file, typer.prompt(f"Passphrase of {file}", hide_input=True, err=True))
