"""``danet verify``: whether a bundle is whole, and who vouches for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from danet_runtime.cli.console.printing import tell
from danet_runtime.cli.options.arguments import JsonFile, TrustedKeys

if TYPE_CHECKING:
    from danet_runtime.bundle.verification import Verdict

_SHOWN = 20


def verify(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    trusted_key: TrustedKeys = None,
    json_file: JsonFile = None,
) -> None:
    """Check a bundle's signature, every file, and that there is no other; exit code 1 where one fails.

    A model file that names data or code outside of it is refused, as everywhere: no signature covers that.

    Example: danet verify bundle --trusted-key vehicle.pem.pub
    """
    from danet_runtime.bundle.verification import verify_bundle
    from danet_runtime.errors import BundleError
    from danet_runtime.files.atomic import write_json

    try:
        verdict = verify_bundle(bundle, trusted_key or None)
    except BundleError as error:
        if json_file is not None:
            write_json(json_file, {"whole": False, "error": str(error), "kind": type(error).__name__})
        raise
    if json_file is not None:
        write_json(json_file, verdict.to_dict())
    _show(bundle, verdict)
    if not verdict.whole:
        raise typer.Exit(1)


def _show(bundle: Path, verdict: Verdict) -> None:
    for title, found in (
        ("damaged", verdict.damaged),
        ("not in the manifest", verdict.strangers),
    ):
        for name in found[:_SHOWN]:
            tell(f"{title}: {name}")
        if len(found) > _SHOWN:
            tell(f"{title}: and {len(found) - _SHOWN} more")
    if verdict.signed_by is not None:
        vouching = f"signed by the trusted key {verdict.signed_by}"
    elif verdict.signature_file:
        vouching = "its signature was not checked (no --trusted-key), so nobody vouches for these hashes"
    else:
        vouching = "not signed, so nobody vouches for these hashes"
    whole = f"{verdict.files} files are as its manifest says" if verdict.whole else "NOT whole"
    tell(f"{bundle}: {whole}; {vouching}")
