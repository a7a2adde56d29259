"""``danet doctor``: what this machine can do, and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from danet_runtime.cli.console.printing import open_console
from danet_runtime.cli.options.arguments import JsonFile

if TYPE_CHECKING:
    from danet_runtime.bundle.reader import Bundle
    from danet_runtime.bundle.verification import Verdict
    from danet_runtime.cli.commands.doctor_checks import Diagnosis

_SHOWN = 20


def doctor(
    bundle: Annotated[
        Path | None,
        typer.Argument(help="A bundle, to check that it holds its files as written, and no others."),
    ] = None,
    kernels: Annotated[
        bool,
        typer.Option(
            "--kernels",
            help="Launch each of the bundle's kernels for this GPU on random inputs of its own sizes, and "
            "compare some rows with float64. `danet build` does so too, before it builds an engine of them.",
        ),
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Tell what this machine can do and what is missing; with a bundle, verify its files.

    The exit code is 1 where the bundle is not whole, or a kernel computes wrongly.

    Example: danet doctor bundle --json -
    """
    from danet_runtime.bundle.reader import Bundle
    from danet_runtime.bundle.verification import examine
    from danet_runtime.cli.commands.doctor_checks import diagnose
    from danet_runtime.errors import IntegrityError, UsageError
    from danet_runtime.files.atomic import write_json

    if kernels and bundle is None:
        raise UsageError("--kernels needs the bundle that holds them: danet doctor BUNDLE --kernels")
    facts = None
    if bundle is not None:
        opened = Bundle.open(bundle)
        verdict = examine(opened)
        if verdict.damaged:
            raise IntegrityError(verdict.damaged[0])
        facts = _bundle_facts(opened, verdict)
        if kernels:
            facts["kernels"] = _kernel_facts(opened)
    found = diagnose()
    if json_file is not None:
        write_json(json_file, {**found.to_dict(), "bundle": facts})
    _show(found, facts)
    wrong = [] if facts is None else [one for one in facts.get("kernels", ()) if not one["right"]]
    if facts is not None and (facts["strangers"] or wrong):
        raise typer.Exit(1)


def _bundle_facts(bundle: Bundle, verdict: Verdict) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "path": str(bundle.path),
        "sha256": bundle.sha256,
        "files_verified": verdict.files,
        "strangers": list(verdict.strangers),
        "variants": list(manifest.variants),
        "int8_gate": _int8_gate(bundle),
        "frame_size_hw": list(manifest.frame.size_hw),
        "classes": len(manifest.classes),
    }


def _kernel_facts(bundle: Bundle) -> list[dict[str, Any]]:
    """Launch the kernels that the bundle holds for this machine's GPU."""
    from danet_runtime.tensorrt.kernel_check import check_bundle

    return [
        {
            "file": verdict.kernel.ptx.path,
            "operator": verdict.kernel.operator,
            "variant": verdict.kernel.variant,
            "right": verdict.is_right,
            "finding": str(verdict),
        }
        for verdict in check_bundle(bundle)
    ]


def _int8_gate(bundle: Bundle) -> dict[str, Any] | None:
    """Return the measurements of the INT8 variant; ``None`` if the bundle has no such variant."""
    variant = bundle.manifest.variants.get("int8")
    if variant is None:
        return None
    held = variant.quantisation
    if held is None:
        return {
            "gate": "not measured",
            "measured": [],
            "not_measured": [],
            "overlap": 0,
            "doubt": "nothing measured its accuracy",
        }
    return {
        "gate": held.gate,
        "measured": list(held.gate_measured),
        "not_measured": list(held.gate_unmeasured),
        "overlap": held.gate_overlap,
        "doubt": held.gate_doubt,
    }


def _gate_row(gate: dict[str, Any]) -> tuple[str, str]:
    if gate["doubt"]:
        return "bundle: INT8 NOT gated", gate["doubt"]
    outcome = f"passed for {', '.join(('mIoU', *gate['measured']))}"
    if gate["not_measured"]:
        outcome += f"; not measured: {', '.join(gate['not_measured'])}"
    if gate["overlap"]:
        outcome += f"; {gate['overlap']} of its frames are the calibration's too"
    return "bundle: INT8 gate", outcome


def _show(found: Diagnosis, facts: dict[str, Any] | None) -> None:
    from rich.table import Table

    machine = found.machine
    memory = f"{machine['memory_bytes'] / 2**30:.1f} GiB" if machine["memory_bytes"] else "unknown"
    gpus = "; ".join(", ".join(gpu.values()) for gpu in found.gpus)
    rows = [
        ("danet-runtime", found.danet),
        ("Python", machine["python"]),
        ("platform", machine["platform"]),
        ("Jetson", machine["jetson"] or "no"),
        ("CPU", f"{machine['cpu']} ({machine['cpu_count']} cores)"),
        ("memory", memory),
        ("GPU", f"{gpus} [{found.gpu_detail}]" if gpus else found.gpu_detail),
        *((package.name, f"{package.version or ''} {package.detail}".strip()) for package in found.packages),
        *((f"backend {name}", verdict) for name, verdict in found.backends.items()),
        *((f"source {name}", verdict) for name, verdict in found.sources.items()),
        *((f"sink {name}", verdict) for name, verdict in found.sinks.items()),
    ]
    if facts is not None:
        held = f"{facts['files_verified']} files verified, {', '.join(facts['variants'])}"
        rows.append(("bundle", f"{facts['path']}: {held}"))
        if facts["int8_gate"]:
            rows.append(_gate_row(facts["int8_gate"]))
        for one in facts.get("kernels", ()):
            verdict = "right" if one["right"] else "WRONG, do not use it"
            rows.append((f"kernel {one['operator']}, {one['variant']}", f"{verdict}: {one['finding']}"))
        if facts["strangers"]:
            named = ", ".join(facts["strangers"][:_SHOWN])
            more = len(facts["strangers"]) - _SHOWN
            named += f" and {more} more" if more > 0 else ""
            rows.append(("bundle: NOT whole", f"not in the manifest: {named}"))
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, str(value))
    open_console().print(table)
