"""``danet export``; nothing heavy is imported before it runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from danet_runtime.cli.console.printing import open_console, progress_console
from danet_runtime.cli.options.arguments import OUTPUTS, JsonFile
from danet_train.pretrained.registry import checkpoint_help

if TYPE_CHECKING:
    from rich.console import Console

    from danet_runtime.bundle import Kernel

PARITY_FRAMES = 4
INPUTS, SIZES, KERNELS = "Classes and frames", "Sizes and pixels", "Kernels"


def _list_pretrained(asked: bool) -> None:
    if asked:
        from danet_train.cli.tables import pretrained_table

        open_console().print(pretrained_table())
        raise typer.Exit


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(help=checkpoint_help("Checkpoint of `danet train`, or a file with a state_dict.")),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Bundle folder to write.", metavar="FOLDER", rich_help_panel=OUTPUTS
        ),
    ],
    size: Annotated[
        str | None,
        typer.Option(
            help="Size of the network's input, HxW: 8k or 8k+1, e.g. 512x1024 or 769x769. A pretrained "
            "network has one, which this replaces.",
            metavar="HxW",
            rich_help_panel=SIZES,
        ),
    ] = None,
    frame_size: Annotated[
        str | None,
        typer.Option(
            help="Size of the camera's frames, HxW; the model size where it is not given.",
            metavar="HxW",
            rich_help_panel=SIZES,
        ),
    ] = None,
    fit: Annotated[
        Literal["stretch", "letterbox"],
        typer.Option(help="Fit of a frame into the model size.", rich_help_panel=SIZES),
    ] = "stretch",
    align_corners: Annotated[
        bool | None,
        typer.Option(
            "--align-corners/--no-align-corners",
            help="Sampling of the logits' upsampling; by default as trained, else on for 8k+1 sizes only.",
            rich_help_panel=SIZES,
        ),
    ] = None,
    pixel_format: Annotated[
        Literal["bgr", "nv12", "uyvy"],
        typer.Option(
            help="Pixel format of the camera's frames; the model file converts it.", rich_help_panel=SIZES
        ),
    ] = "bgr",
    color: Annotated[
        Literal["bt601", "bt709"] | None,
        typer.Option(help="Matrix of nv12 and uyvy; bt601 where it is not given.", rich_help_panel=SIZES),
    ] = None,
    levels: Annotated[
        Literal["limited", "full"] | None,
        typer.Option(
            "--range",
            help="Levels of nv12 and uyvy; limited (16 to 235) where it is not given.",
            rich_help_panel=SIZES,
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="classes.yaml, or the name of a table, where the checkpoint holds none.",
            metavar="NAME",
            rich_help_panel=INPUTS,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Video or folder of the camera, to compare with PyTorch on; its first frame becomes the "
            "golden one, which engines and INT8 must reproduce. Without it a drawn pattern, which `danet "
            "calibrate` replaces as the golden frame by one of its own.",
            metavar="SOURCE",
            rich_help_panel=INPUTS,
        ),
    ] = None,
    kernels: Annotated[
        str | None,
        typer.Option(
            help="GPU architectures to compile kernels for, e.g. sm_87,sm_89; none by default.",
            metavar="SM,SM",
            rich_help_panel=KERNELS,
        ),
    ] = None,
    kernel_dtype: Annotated[
        Literal["fp16", "bf16"],
        typer.Option(
            help="Type of the kernels' tensors; engines take fp16, bf16 is for your own code.",
            rich_help_panel=KERNELS,
        ),
    ] = "fp16",
    json_file: JsonFile = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing bundle.", rich_help_panel=OUTPUTS)
    ] = False,
    list_pretrained: Annotated[
        bool,
        typer.Option(
            "--list-pretrained",
            callback=_list_pretrained,
            is_eager=True,
            help="Print the networks that ship with danet, with their mIoU, and end.",
            rich_help_panel="Print, and end",
        ),
    ] = False,
) -> None:
    """Export a checkpoint as a bundle: FP32 and FP16 ONNX, proven against PyTorch.

    Example: danet export r50.pt --size 512x1024 --data drive.mp4 -o bundle
    """
    from danet_export.graph.geometry import plan_geometry
    from danet_export.kernels.architectures import KernelRequest, find_architectures
    from danet_runtime.bundle.reader import MANIFEST_NAME
    from danet_runtime.cli.console.progress import ShownProgress
    from danet_runtime.cli.options.arguments import parse_size
    from danet_runtime.errors import UsageError
    from danet_runtime.files.atomic import check_folder_target, write_json
    from danet_runtime.frames.pixel_formats import Pixels

    if pixel_format == "bgr" and (color or levels):
        raise UsageError("--color and --range belong to --pixel-format nv12 or uyvy; leave them out for bgr")
    pixels = Pixels(pixel_format, color or "bt601", levels or "limited")
    model_hw = parse_size(size or _own_size(checkpoint), "--size")
    frame_hw = parse_size(frame_size, "--frame-size") if frame_size else None
    plan_geometry(model_hw, frame_hw, fit, align_corners, pixels)  # refuse a size before torch is loaded
    request = None
    if kernels is not None:
        names = [name.strip() for name in kernels.split(",") if name.strip()]
        request = KernelRequest(find_architectures(names, kernel_dtype), kernel_dtype)
        require_triton()
    check_folder_target(output, MANIFEST_NAME, overwrite=overwrite)

    from danet_export.frames import load_frames, pattern
    from danet_export.pipeline import ExportSettings, export_bundle
    from danet_train.checkpoint import read_checkpoint
    from danet_train.classes import CITYSCAPES, describe_difference, find_classes

    loaded = read_checkpoint(checkpoint)
    trained = loaded.model.config.align_corners
    sampling = trained if align_corners is None else align_corners
    geometry = plan_geometry(model_hw, frame_hw, fit, sampling, pixels)
    console = open_console()
    table = find_classes(classes) if classes else loaded.classes
    if table is not None and loaded.classes is not None:
        difference = describe_difference(loaded.classes.names, table.names, str(checkpoint), str(classes))
        if difference is not None:
            raise UsageError(f"{checkpoint} holds its own classes: {difference}; leave --classes out")
        table = loaded.classes
    if table is None and loaded.model.config.num_classes == len(CITYSCAPES.names):
        console.print("The checkpoint names no classes; it has 19, and they are taken to be Cityscapes'.")
        table = CITYSCAPES
    if table is None:
        raise UsageError(
            f"{checkpoint} names no classes and has {loaded.model.config.num_classes}; name them: --classes"
        )
    with ShownProgress(progress_console(), "export") as shown:
        manifest = export_bundle(
            loaded,
            table,
            geometry,
            lambda size_hw: (
                load_frames(data, size_hw, PARITY_FRAMES)
                if data
                else [pattern(size_hw, seed) for seed in range(PARITY_FRAMES)]
            ),
            output,
            settings=ExportSettings(request, "frames" if data else "drawn", overwrite),
            step=lambda what: shown(0, None, what),
        )
    _show(console, output, manifest.reports["parity"].path)
    if json_file is not None:
        write_json(json_file, {"path": str(output)} | manifest.model_dump(mode="json"))
    if manifest.kernels:
        _show_kernels(console, manifest.kernels)


def _own_size(checkpoint: Path) -> str:
    from danet_runtime.errors import UsageError
    from danet_train.pretrained.record import read_record
    from danet_train.pretrained.registry import pretrained_name

    name = pretrained_name(checkpoint)
    if name is None:
        raise UsageError(
            "--size is missing, the size of the network's input as HxW, e.g. 512x1024; only a pretrained "
            "network has one of its own"
        )
    return read_record(name).size


def require_triton() -> None:
    """Require Triton before a long export begins.

    Raises:
        MissingDependencyError: Triton is not installed.
    """
    from importlib.util import find_spec

    from danet_runtime.errors import MissingDependencyError

    if find_spec("triton") is None:
        raise MissingDependencyError(
            "triton",
            "danet export --kernels",
            "it comes with danet-export on Linux: pip install 'triton>=3.7.1'",
        )


def _show_kernels(console: Console, kernels: Sequence[Kernel]) -> None:
    from rich.table import Table

    columns = ("arch", "operator", "variant", "registers", "spills", "shared", "PTX")
    table = Table(*columns, title=f"kernels ({kernels[0].dtype})")
    for kernel in kernels:
        figures = (str(kernel.registers), f"{kernel.spill_bytes} B", f"{kernel.shared_memory_bytes} B")
        table.add_row(kernel.arch, kernel.operator, kernel.variant, *figures, kernel.ptx_version)
    console.print(table)


def _show(console: Console, output: Path, parity_path: str) -> None:
    import json

    from rich.table import Table

    parity = json.loads((output / parity_path).read_text(encoding="utf-8"))
    table = Table("file", "agreement with PyTorch", "worst frame", "compared at", title=str(output))
    for row in parity["frames"]:
        file = f"model.{row['precision']}.onnx"
        at = "x".join(map(str, row["model_hw"]))
        table.add_row(file, f"{row['agreement']:.4%}", f"{row['worst_frame_agreement']:.4%}", at)
    console.print(table)
    if parity["compared_at_reduced_size"]:
        full = "x".join(map(str, parity["model_hw"]))
        console.print(f"{full} would store too large a map: the same weights were compared smaller.")
