"""``danet doctor``: what this machine can do, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from danet_runtime.bundle.reader import Bundle
    from danet_runtime.doctor import Diagnosis


def doctor(
    bundle: Annotated[
        Path | None, typer.Argument(help="A bundle, to check every file of it against its hash.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Tell what this machine can do and what is missing; with a bundle, verify its files."""
    import json

    from danet_runtime.bundle.reader import Bundle
    from danet_runtime.doctor import diagnose

    checked = None
    if bundle is not None:
        checked = Bundle.open(bundle)
        checked.verify()
    found = diagnose()
    if as_json:
        typer.echo(json.dumps({**found.to_dict(), "bundle": _bundle_facts(checked)}, indent=2))
    else:
        _show(found, checked)


def _bundle_facts(bundle: Bundle | None) -> dict[str, Any] | None:
    if bundle is None:
        return None
    manifest = bundle.manifest
    return {
        "path": str(bundle.path),
        "sha256": bundle.sha256,
        "files_verified": len(manifest.files()),
        "variants": list(manifest.variants),
        "frame_size_hw": list(manifest.frame.size_hw),
        "classes": len(manifest.classes),
    }


def _show(found: Diagnosis, bundle: Bundle | None) -> None:
    from rich.console import Console
    from rich.table import Table

    machine = found.machine
    memory = f"{machine['memory_bytes'] / 2**30:.1f} GiB" if machine["memory_bytes"] else "unknown"
    gpus = "; ".join(", ".join(gpu.values()) for gpu in found.gpus) or found.gpu_detail
    rows = [
        ("danet-runtime", found.danet),
        ("Python", machine["python"]),
        ("platform", machine["platform"]),
        ("Jetson", machine["jetson"] or "no"),
        ("CPU", f"{machine['cpu']} ({machine['cpu_count']} cores)"),
        ("memory", memory),
        (
            "GPU",
            f"{gpus} [{found.gpu_detail}]" if found.gpus or "none found" not in found.gpu_detail else gpus,
        ),
        *((package.name, f"{package.version or ''} {package.detail}".strip()) for package in found.packages),
        *((f"backend {name}", verdict) for name, verdict in found.backends.items()),
    ]
    if bundle is not None:
        facts = _bundle_facts(bundle) or {}
        rows.append(
            (
                "bundle",
                f"{bundle.path}: {facts['files_verified']} files verified, {', '.join(facts['variants'])}",
            )
        )
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, str(value).replace("[", "\\["))
    Console(highlight=False).print(table)
