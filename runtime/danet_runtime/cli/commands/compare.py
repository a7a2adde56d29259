"""``danet compare``: two backends or precisions of one bundle on the same frames."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from danet_runtime.cli.console.printing import open_console, progress_console, tell
from danet_runtime.cli.options.arguments import FRAMES, GATE, MODEL, OUTPUTS, EngineDir, JsonFile, TrustedKeys

if TYPE_CHECKING:
    from danet_runtime.bundle import Bundle
    from danet_runtime.comparison.comparison import Compared, Side
    from danet_runtime.comparison.labels import FrameAgreement
    from danet_runtime.comparison.pictures import DifferencePicture
    from danet_runtime.sources import Source

COMPARISON_NAME = "comparison.json"
COMPARISON_KIND = "danet-comparison"
COMPARISON_VERSION = 1
_REPORT_LEAST_BYTES = 2048
_FRAME_LEAST_BYTES = 64  # an entry of per_frame; how well the pictures compress is not known before
LAYOUT_GROUP = "danet.layouts"
"""Entry points of packages that know layouts of data sets: ``(folder, split or None)`` gives the folder and
the pictures of one split, or ``None`` where the folder has no layout that they know."""
_CITYSCAPES_FRAMES = "leftImg8bit"  # known here too: a vehicle has no package for training
_CITYSCAPES_SPLITS = ("val", "train", "test", "train_extra")


def compare(
    bundle: Annotated[Path, typer.Argument(help="Folder written by `danet export` or `danet calibrate`.")],
    data: Annotated[
        str,
        typer.Option(
            help="Folder of pictures, Cityscapes' folder or, where danet-train is installed, any data set "
            "that it knows (of these --split), video file, or pattern such as 'val/**/*.png'.",
            rich_help_panel=FRAMES,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder for the report and pictures.",
            rich_help_panel=OUTPUTS,
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            help="Split of a data set, e.g. train; val, or the only one, where it is not given.",
            rich_help_panel=FRAMES,
        ),
    ] = None,
    a: Annotated[
        str,
        typer.Option(
            "--a",
            metavar="SIDE",
            help="BACKEND:PRECISION; backends are {compared backends}.",
            rich_help_panel=MODEL,
        ),
    ] = "onnxruntime:fp32",
    b: Annotated[
        str,
        typer.Option("--b", metavar="SIDE", help="What is compared with it.", rich_help_panel=MODEL),
    ] = "onnxruntime:int8",
    frames: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of frames to compare, evenly spread over the source.",
            rich_help_panel=FRAMES,
        ),
    ] = 50,
    worst: Annotated[
        int,
        typer.Option(
            min=0,
            max=32,
            metavar="N",
            help="Number of frames to save as pictures: those that agree least.",
            rich_help_panel=OUTPUTS,
        ),
    ] = 5,
    least: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="SHARE",
            help="Fail where less than this share of the labels is equal.",
            rich_help_panel=GATE,
        ),
    ] = None,
    engine_dir: EngineDir = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="CPU threads of one inference in onnxruntime.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    trusted_key: TrustedKeys = None,
    json_file: JsonFile = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace a report that is there.", rich_help_panel=OUTPUTS),
    ] = False,
) -> None:
    """Compare the labels of two backends or precisions on the same frames.

    Example: danet compare bundle --data drive.mp4 --b tensorrt:int8 -o comparison
    """
    from danet_runtime.backends.registry import find_backend
    from danet_runtime.backends.statement import EngineStatement
    from danet_runtime.bundle import Bundle
    from danet_runtime.cli.console.progress import ShownProgress
    from danet_runtime.cli.options.engines import tell_what_is_trusted
    from danet_runtime.comparison.comparison import SideOptions, parse_side
    from danet_runtime.comparison.comparison import compare as run_comparison
    from danet_runtime.comparison.ground_truth import with_ground_truth
    from danet_runtime.comparison.pictures import DifferencePicture
    from danet_runtime.errors import AgreementError
    from danet_runtime.files.atomic import check_folder_target, check_room, write_json
    from danet_runtime.sources.images import ImagesSource

    sides = (parse_side(a, "--a"), parse_side(b, "--b"))
    check_folder_target(output, COMPARISON_NAME, overwrite=overwrite)
    opened = Bundle.open(bundle, trusted_key or None)
    kinds = [find_backend(side.backend, compared=True) for side in sides]
    if any(isinstance(kind.statement, EngineStatement) for kind in kinds):
        tell_what_is_trusted(opened, engine_dir)
    source = _open(data, frames, split)
    try:
        count = min(frames, source.count or frames)
        check_room(output, _REPORT_LEAST_BYTES + count * _FRAME_LEAST_BYTES)
        with ShownProgress(progress_console(), f"{a} and {b}", count) as progress:
            compared = run_comparison(
                opened,
                sides,
                source,
                frames=frames,
                worst=worst,
                options=SideOptions(threads, engine_dir),
                on_frame=progress,
            )
        described = source.describe()
        files = source.files if isinstance(source, ImagesSource) else ()
    finally:
        source.close()
    agreement = compared.labels.agreement
    passed = None if least is None else agreement >= least
    report = _report(opened, sides, described, compared) | {"least": least, "passed": passed}
    kept = compared.labels.worst()
    if files:
        kept = with_ground_truth(kept, [files[frame.info.id] for frame in kept], opened.manifest.classes)
    drawing = DifferencePicture((str(sides[0]), str(sides[1])), opened.manifest.classes, compared.palette)
    _write(output, drawing, kept, report, overwrite=overwrite)
    if json_file is not None:
        write_json(json_file, report)
    _show(sides, report)
    tell(f"written: {output / COMPARISON_NAME}, {len(report['worst'])} pictures")
    if passed is False:
        raise AgreementError(
            f"{sides[0]} and {sides[1]} give {agreement:.4%} of the pixels the same label; expected "
            f"{least:.4%} or more: look at the pictures in {output}"
        )


def _open(images: str, frames: int, split: str | None) -> Source:
    """The source; of a folder only the pictures that will be taken, so that the others are not decoded."""
    from danet_runtime.comparison.comparison import evenly
    from danet_runtime.errors import SourceError, UsageError
    from danet_runtime.sources import open_source
    from danet_runtime.sources.images import ImagesSource, pictures_in

    folder = Path(images)
    inner = folder / _CITYSCAPES_FRAMES
    if inner.is_dir() or folder.resolve().name == _CITYSCAPES_FRAMES:
        folder = _split_of(inner if inner.is_dir() else folder, split)
    elif (known := _of_known_layout(folder, split)) is not None:
        place, pictures = known
        return ImagesSource([pictures[number] for number in evenly(len(pictures), frames)], str(place))
    elif split is not None:
        raise UsageError(f"--split is for the folder of a data set, which {images} is not; leave it out")
    if not folder.is_dir():
        return open_source(images)
    if _CITYSCAPES_FRAMES in folder.resolve().parts:
        found = sorted(file for file in folder.rglob("*.png") if not file.name.startswith("."))
        if not found:
            raise SourceError(f"{folder} holds no PNG, as Cityscapes would; give the folder with the frames")
    else:
        found = pictures_in(folder)
    return ImagesSource([found[number] for number in evenly(len(found), frames)], str(folder))


def _of_known_layout(folder: Path, split: str | None) -> tuple[Path, list[Path]] | None:
    """The pictures of one split, where ``folder`` holds none itself and an installed package knows it."""
    from danet_runtime.sources.images import is_picture

    if not folder.is_dir() or any(is_picture(entry) for entry in folder.iterdir()):
        return None
    asked = (entry.load()(folder, split) for entry in entry_points(group=LAYOUT_GROUP))
    return next((known for known in asked if known is not None), None)


def _split_of(frames: Path, split: str | None) -> Path:
    """One split of Cityscapes' frames; never several, since a network may have learned from some of them."""
    from danet_runtime.errors import UsageError

    if split is not None:
        if split not in {entry.name for entry in frames.iterdir() if entry.is_dir()}:
            held = ", ".join(sorted(entry.name for entry in frames.iterdir() if entry.is_dir()))
            raise UsageError(f"{frames} has no split {split!r}; expected one of: {held or 'none is there'}")
        return frames / split
    there = [name for name in _CITYSCAPES_SPLITS if (frames / name).is_dir()]
    if len(there) > 1 and "val" not in there:
        raise UsageError(f"{frames} has the splits {', '.join(there)}, but no val; name one with --split")
    return frames / there[0] if there else frames


def _report(
    bundle: Bundle, sides: tuple[Side, Side], source: dict[str, Any], compared: Compared
) -> dict[str, Any]:
    from danet_runtime.machine import describe_machine

    return {
        "kind": COMPARISON_KIND,
        "schema_version": COMPARISON_VERSION,
        "bundle": {"path": str(bundle.path), "sha256": bundle.sha256, "signed_by": bundle.signed_by},
        **{
            key: {
                "name": str(side),
                "conv_mac_share_int8": bundle.conv_mac_share_int8(side.precision),
                "backend": backend,
            }
            for key, side, backend in zip("ab", sides, compared.backends, strict=True)
        },
        "source": source,
        **compared.labels.to_dict(),
        "worst": [
            {
                "frame": frame.info.id,
                "name": frame.name,
                "agreement": frame.agreement,
                "picture": f"worst_{place:02d}.png",
            }
            for place, frame in enumerate(compared.labels.worst(), 1)
        ],
        "machine": describe_machine(),
    }


def _write(
    output: Path,
    drawing: DifferencePicture,
    kept: list[FrameAgreement],
    report: dict[str, Any],
    *,
    overwrite: bool,
) -> None:
    from danet_runtime.files.atomic import replacing_folder, write_json

    with replacing_folder(output, COMPARISON_NAME, overwrite=overwrite) as folder:
        for entry, frame in zip(report["worst"], kept, strict=True):
            (folder / entry["picture"]).write_bytes(drawing.encode(frame))
        write_json(folder / COMPARISON_NAME, report)


def _show(sides: tuple[Side, Side], report: dict[str, Any]) -> None:
    from rich.table import Table

    console = open_console()
    agreement = report["agreement"]
    console.print(f"A: {sides[0]}, B: {sides[1]}, {report['frames_compared']} frames")
    for key, side in zip("ab", sides, strict=True):
        share = report[key]["conv_mac_share_int8"]
        if side.precision == "int8" and share is not None:
            console.print(f"{key.upper()}: {share:.1%} of the convolution MACs on INT8")
    table = Table("equal labels", "share")
    for name, key in (
        ("all pixels", "overall"),
        ("median frame", "frame_median"),
        ("5th percentile of the frames", "frame_p5"),
        ("worst frame", "frame_min"),
    ):
        table.add_row(name, f"{agreement[key]:.4%}")
    console.print(table)
    classes = Table("class", "IoU of A and B")
    present = {name: value for name, value in report["iou"].items() if value is not None}
    for name, value in sorted(present.items(), key=lambda item: item[1]):
        classes.add_row(name, f"{value:.4f}")
    classes.add_section()
    classes.add_row("mean", "-" if report["mean_iou"] is None else f"{report['mean_iou']:.4f}")
    console.print(classes)
    if report["confusions"]:
        pairs = Table("A says", "B says", "pixels", "share")
        for item in report["confusions"]:
            names = [(item[side] or "no class") for side in ("a", "b")]
            pairs.add_row(*names, str(item["pixels"]), f"{item['share']:.4%}")
        console.print(pairs)
