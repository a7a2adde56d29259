"""``danet build``; nothing heavy is imported before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from danet_runtime.cli.console.printing import open_console
from danet_runtime.cli.options.arguments import MODEL, EngineDir, JsonFile, TrustedKeys
from danet_runtime.cli.options.precisions import HiddenPrecision, backend_and_precision
from danet_runtime.cli.options.registered import engine_name

if TYPE_CHECKING:
    from danet_runtime.tensorrt.store.manifest import EngineManifest

BUILDING = "How it is built"


def build(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    backend: Annotated[
        str,
        typer.Option(
            parser=engine_name,
            metavar="{engine names}",
            help="What runs the engine, with or without a precision (fp32, fp16, int8), as tensorrt:int8: "
            "{engines}. Without one fp16.",
            rich_help_panel=MODEL,
        ),
    ] = "tensorrt-rtx",
    precision: HiddenPrecision = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SM",
            help="GPU architecture to build for ahead of time, e.g. sm_89; may be given again.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    attention: Annotated[
        Literal["plugin", "native", "reference"] | None,
        typer.Option(
            help="How the attention is built, and nothing else tried; chosen, and said, where it is not "
            "given. `danet run` prefers plugin, then native: to run another, give it an --engine-dir of "
            "its own.",
            rich_help_panel=BUILDING,
        ),
    ] = None,
    kernels: Annotated[
        Literal["tuned", "small"] | None,
        typer.Option(
            help="Build the plugin with these kernels, and try nothing else; small needs at most 48 KiB of "
            "shared memory a block. Where it is not given, tuned ones are tried, then small ones.",
            rich_help_panel=BUILDING,
        ),
    ] = None,
    trusted_key: TrustedKeys = None,
    workspace_mib: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="MIB",
            help="Most scratch memory of a layer in MiB; by default all of the device's, and half of what is "
            "free where it shares the host's.",
            rich_help_panel=BUILDING,
        ),
    ] = None,
    optimization_level: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=5,
            metavar="LEVEL",
            help="0 builds fastest, 5 searches longest; the library's default is 3.",
            rich_help_panel=BUILDING,
        ),
    ] = None,
    engine_dir: EngineDir = None,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="Build even where this very engine is there already.",
            rich_help_panel=BUILDING,
        ),
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Build a TensorRT engine from a bundle, or reuse the one built before from the same.

    A changed bundle, precision, GPU, library, lowering or option builds another.

    Where this machine can run it, a new engine must give the bundle's golden labels before it is kept.

    Example: danet build bundle --backend tensorrt-rtx:int8 --target sm_89
    """
    from rich.table import Table

    from danet_runtime.backends.registry import engine_backends
    from danet_runtime.bundle import Bundle
    from danet_runtime.cli.options.engines import build_shown, tell_what_is_trusted, warn_of_doubt
    from danet_runtime.errors import UsageError
    from danet_runtime.files.atomic import write_json
    from danet_runtime.tensorrt.build.builder import BuilderOptions
    from danet_runtime.tensorrt.engine_build import plan_build

    backend, chosen = backend_and_precision(backend, precision)
    precision = chosen or "fp16"
    stated = engine_backends()[backend]
    if target and not stated.takes_targets:
        raise UsageError(f"{backend} builds for the GPU of this machine; leave --target out")
    if stated.takes_targets and not target:
        raise UsageError(f"{backend} builds ahead of time; name each GPU with --target, e.g. --target sm_89")
    if kernels is not None and not stated.takes_kernels:
        raise UsageError(f"{backend} has no plugins for --kernels; leave it out")
    opened = Bundle.open(bundle, trusted_key or None)
    warn_of_doubt(opened, precision)
    tell_what_is_trusted(opened, engine_dir)
    plan = plan_build(
        opened,
        precision,
        stated.flavour,
        targets=target or (),
        asked=attention,
        kernel_variant=kernels,
        options=BuilderOptions(workspace_mib=workspace_mib, optimization_level=optimization_level),
    )
    planned, obtained = build_shown(plan, engine_dir, rebuild=rebuild)
    manifest = obtained.engine.manifest
    if json_file is not None:
        document = {"path": str(obtained.engine.path), "reused": obtained.reused}
        write_json(json_file, document | manifest.model_dump(mode="json"))
    console = open_console()
    table = Table("what", "value", show_header=False)
    table.add_row("outcome", f"reused, built {manifest.built}" if obtained.reused else "built")
    table.add_row("runs on", f"{backend}:{precision}, library {manifest.library_version}")
    table.add_row("GPU", str(manifest.gpu) if manifest.gpu else ", ".join(manifest.targets))
    if precision == "int8":
        table.add_row("convolutions on INT8", _on_int8(manifest))
    table.add_row("attention", f"{planned.lowering.title}: {planned.lowering.reason}")
    for reason in manifest.passed_over:
        table.add_row("passed over", f"{reason}; --rebuild tries again" if obtained.reused else reason)
    table.add_row("golden frame", _golden(manifest))
    table.add_row("size", _mebibytes(manifest.engine_bytes))
    table.add_row("activation memory", _mebibytes(manifest.activation_memory_bytes))
    table.add_row("build time", f"{manifest.build_seconds:.1f} s")
    console.print(table)
    console.print(f"{'reused' if obtained.reused else 'written'}: {obtained.engine.path}", soft_wrap=True)


def _golden(manifest: EngineManifest) -> str:
    if manifest.golden_agreement is None:
        return "not run: no such GPU on the machine that built it"
    return f"{manifest.golden_agreement:.2%} of the labels"


def _on_int8(manifest: EngineManifest) -> str:
    share, number = manifest.conv_mac_share_int8, manifest.int8_convolutions
    of_macs = "share of MACs not told by the bundle" if share is None else f"{share:.1%} of their MACs"
    of_engine = "the engine's not told by the builder"
    if number is not None:
        of_engine = f"{number} of {manifest.convolutions} in the engine"
    return f"{of_macs} as calibrated; {of_engine}"


def _mebibytes(size: int | None) -> str:
    return "not told by the builder" if size is None else f"{size / 2**20:.1f} MiB"
