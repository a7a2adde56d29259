"""``danet calibrate``; nothing heavy is imported before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from danet_calibration.gate.rules import GateRules
from danet_calibration.int8.ranges.methods import MethodChoice
from danet_runtime.cli.console.json_output import is_stdout
from danet_runtime.cli.console.printing import open_console, progress_console, tell
from danet_runtime.cli.options.arguments import FRAMES, GATE, OUTPUTS, TrustedKeys, require_there
from danet_train.data.datasets.layouts import classes_help, layout_names

if TYPE_CHECKING:
    from rich.console import Console

    from danet_calibration.gate.verdict_file import VerdictFile
    from danet_runtime.bundle import Manifest

CALIBRATION = "The calibration"


def calibrate(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, as `danet export` wrote it.")],
    data: Annotated[
        Path,
        typer.Option(
            help=f"Frames of the camera: a data set ({layout_names()}; its training split is taken) or any "
            "folder.",
            metavar="FOLDER",
            rich_help_panel=FRAMES,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Bundle folder to write.", metavar="FOLDER", rich_help_panel=OUTPUTS
        ),
    ],
    count: Annotated[
        int,
        typer.Option(
            min=8, help="Largest number of images to calibrate on.", metavar="N", rich_help_panel=CALIBRATION
        ),
    ] = 512,
    method: Annotated[
        MethodChoice,
        typer.Option(
            help="Method that finds the range of a tensor; auto compares all and takes the best.",
            rich_help_panel=CALIBRATION,
        ),
    ] = "auto",
    labelled: Annotated[
        Path | None,
        typer.Option(
            help="Data set for the accuracy gate; without it agreement with FP32 decides alone.",
            metavar="FOLDER",
            rich_help_panel=FRAMES,
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split of the labelled data set.", metavar="SPLIT", rich_help_panel=FRAMES)
    ] = "val",
    classes: Annotated[
        str | None,
        typer.Option(
            help=f"{classes_help()} For data sets without one.", metavar="NAME", rich_help_panel=FRAMES
        ),
    ] = None,
    max_miou_drop: Annotated[
        float,
        typer.Option(
            min=0,
            help="Gate: largest drop of the mIoU from FP32 to INT8, in points.",
            metavar="POINTS",
            rich_help_panel=GATE,
        ),
    ] = GateRules.max_miou_drop,
    max_class_drop: Annotated[
        float,
        typer.Option(
            min=0,
            help="Gate: largest drop of a guarded class's IoU, in points.",
            metavar="POINTS",
            rich_help_panel=GATE,
        ),
    ] = GateRules.max_class_drop,
    guard: Annotated[
        list[str] | None,
        typer.Option(
            help="Gate: class to guard (repeatable), instead of person, rider, bicycle, motorcycle, traffic "
            "light and traffic sign, or what the bundle calls them.",
            metavar="CLASS",
            rich_help_panel=GATE,
        ),
    ] = None,
    min_share: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Gate: least share of convolution MACs that stay on INT8.",
            metavar="SHARE",
            rich_help_panel=GATE,
        ),
    ] = GateRules.min_int8_share,
    min_class_pixels: Annotated[
        int,
        typer.Option(
            min=1,
            help="Gate: a guarded class with fewer labelled pixels is not measured.",
            metavar="N",
            rich_help_panel=GATE,
        ),
    ] = GateRules.min_class_pixels,
    min_class_frames: Annotated[
        int,
        typer.Option(
            min=1,
            help="Gate: a guarded class that fewer frames show is not measured.",
            metavar="N",
            rich_help_panel=GATE,
        ),
    ] = GateRules.min_class_frames,
    allow_overlap: Annotated[
        bool,
        typer.Option(
            "--allow-overlap",
            help="Gate: allow labelled frames that are calibration frames too, and report them.",
            rich_help_panel=GATE,
        ),
    ] = False,
    min_agreement: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Without --labelled: least share of the pixels of held-out frames to which INT8 must give "
            "FP32's label.",
            metavar="SHARE",
            rich_help_panel=GATE,
        ),
    ] = GateRules.min_agreement,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Gate: bundle whose FP32 accuracy INT8 is compared with, instead of this one's: that of the "
            "checkpoint before `danet train --quantize`.",
            metavar="BUNDLE",
            rich_help_panel=GATE,
        ),
    ] = None,
    range_frames: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of frames to measure the range of FP16 on; 0: none  "
            "[default: 4, or 1 beyond 512x1024]",
            metavar="N",
            rich_help_panel=CALIBRATION,
        ),
    ] = None,
    verdict: Annotated[
        Path | None,
        typer.Option(
            "--verdict",
            "--json",
            metavar="FILE",
            help="JSON file for the gate's verdict; -: standard output  [default: OUTPUT.verdict.json]",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    trusted_key: TrustedKeys = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing bundle.", rich_help_panel=OUTPUTS)
    ] = False,
) -> None:
    """Quantise a bundle to INT8 on real images, and check its accuracy on labelled ones.

    Where INT8 everywhere fails the accuracy gate, a mixed-precision search finds the fewest layers in FP16
    with which it holds. Where it cannot hold, no bundle is written and the exit code is 1. The verdict is
    written as JSON either way.

    Example: danet calibrate bundle --data CITYSCAPES --labelled CITYSCAPES -o bundle-int8
    """
    from danet_runtime.bundle import Bundle
    from danet_runtime.bundle.reader import MANIFEST_NAME
    from danet_runtime.cli.console.progress import ShownProgress
    from danet_runtime.errors import UsageError
    from danet_runtime.files.atomic import check_folder_target
    from danet_runtime.files.names import fitting_name

    require_there(data, "--data")
    check_folder_target(output, MANIFEST_NAME, overwrite=overwrite)

    from danet_calibration.gate.verdict_file import VerdictFile
    from danet_calibration.images.images import choose_images
    from danet_calibration.measure.accuracy import LabelledSet, require_classes
    from danet_calibration.pipeline import CalibrationSettings, calibrate_bundle, require_calibratable
    from danet_train.data.datasets.layouts import open_dataset
    from danet_train.data.datasets.survey import survey, survey_lines

    record = VerdictFile(
        verdict or output.with_name(fitting_name(output.name, ".verdict.json")), output, bundle
    )
    console = open_console()
    with _recorded(console, record, output):
        opened = Bundle.open(bundle, trusted_key or None)

        rules = GateRules(
            max_miou_drop,
            max_class_drop,
            tuple(guard) if guard else None,
            min_share,
            min_class_pixels,
            min_class_frames,
            min_agreement,
        )
        dataset = (
            LabelledSet(f"{labelled.name} {split}", open_dataset(labelled, split, classes))
            if labelled
            else None
        )
        if dataset is not None:
            found = survey(dataset.dataset, dataset.name)
            for line in survey_lines(dataset.dataset, dataset.name, found):
                console.print(line)
        require_calibratable(opened, dataset, output, rules)
        held_to = Bundle.open(reference, trusted_key or None) if reference else None
        changed = {
            option: getattr(rules, name) != getattr(GateRules, name)
            for option, name in _RULES_OF_LABELLED_FRAMES.items()
        }
        asked = {"--reference": reference, **changed, "--allow-overlap": allow_overlap}
        gate_options = [option for option, given in asked.items() if given]
        if dataset is None and gate_options:
            raise UsageError(
                f"{', '.join(gate_options)} {'is' if len(gate_options) == 1 else 'are'} for the accuracy "
                "gate; give labelled frames with --labelled"
            )
        if dataset is not None and min_agreement != GateRules.min_agreement:
            raise UsageError("--min-agreement decides where there are no labels; leave it out, or --labelled")
        if held_to is not None and dataset is not None:
            require_classes(held_to, dataset.dataset, dataset.name)
        record.begin(opened.sha256)
        with ShownProgress(progress_console(), "calibrate") as shown:

            def step(what: str, done: int, of: int) -> None:
                shown(done, of or None, what)

            chosen = choose_images(
                data,
                count,
                HELD_OUT_FRAMES,
                frame_hw=opened.manifest.frame.size_hw,
                progress=lambda done, of: step("look at the images", done, of),
            )
            settings = CalibrationSettings(method, rules, range_frames, held_to, classes, allow_overlap)
            manifest = calibrate_bundle(
                opened, chosen, dataset, output, settings=settings, overwrite=overwrite, step=step
            )
        _show(console, output, manifest, record)
    if opened.signed_by is not None:
        console.print(f"{output} is a new bundle and not signed; sign it with `danet sign`")


@contextmanager
def _recorded(console: Console, record: VerdictFile, output: Path) -> Iterator[None]:
    """Write the verdict's file also where an error ends the calibration."""
    from danet_calibration.errors import GateError

    try:
        yield
    except BaseException as error:
        if isinstance(error, GateError):
            _show_verdict(console, error.verdict, f"{output} (not written)")
        if record.fail(error) and not is_stdout(record.path):
            tell(f"The verdict is in {record.path}")
        raise


def _show_verdict(console: Console, verdict: dict[str, Any], title: str) -> None:
    from danet_calibration.summary import candidate_table, remarks, sensitivity_table

    if not verdict.get("ladder"):
        return
    console.print(candidate_table(verdict, title))
    if verdict["sensitivity"]:
        console.print(sensitivity_table(verdict))
    for remark in remarks(verdict):
        console.print(remark, style="yellow")


def _show(console: Console, output: Path, manifest: Manifest, record: VerdictFile) -> None:
    import json

    from danet_calibration.summary import decision
    from danet_runtime.bundle import Bundle

    report = json.loads((output / manifest.reports["calibration"].path).read_text(encoding="utf-8"))
    _show_verdict(console, report, str(output))
    if report["coverage"]["left_out"]:
        console.print(f"left out {report['coverage']['left_out']}", style="yellow")
    for warning in report["coverage"]["thin"]:
        console.print(f"thin: {warning}", style="yellow")
    if report["class_coverage"]["never_seen"]:
        unseen = ", ".join(report["class_coverage"]["never_seen"])
        how = report["class_coverage"]["source"]
        console.print(f"no calibration frame shows {unseen} (by {how})", style="yellow")
    share, method = report["conv_mac_share_int8"], report["method"]
    agreement, frames = report["label_agreement_int8_fp32"], report["label_agreement_frames"]
    golden, least = report["golden_agreement_int8"], manifest.golden.agreement["int8"]
    console.print(
        f"{share:.1%} of the convolution MACs run on INT8 ({method}). INT8 and FP32 give the same label to "
        f"{agreement:.2%} of the pixels of {frames} of {report['label_agreement_of']}. INT8 gives "
        f"{golden:.2%} of the golden frame's labels; {least:.0%} is required."
    )
    console.print(decision(report), style="" if report["gate"] == "passed" else "bold yellow")
    record.finish({name: report[name] for name in _VERDICT_PARTS}, Bundle.open(output).sha256)
    if not is_stdout(record.path):
        tell(f"The verdict is in {record.path}")


_RULES_OF_LABELLED_FRAMES = {
    "--guard": "guard",
    "--max-miou-drop": "max_miou_drop",
    "--max-class-drop": "max_class_drop",
    "--min-share": "min_int8_share",
    "--min-class-pixels": "min_class_pixels",
    "--min-class-frames": "min_class_frames",
}
"""Options that decide nothing without labelled frames, and the rules that they set."""

HELD_OUT_FRAMES = 32
"""Frames that are not calibrated on, to compare methods and INT8 with FP32."""

_VERDICT_PARTS = (
    "gate",
    "reason",
    "rules",
    "labelled",
    "measured",
    "not_measured",
    "evidence",
    "overlap",
    "agreement",
    "ladder",
    "sensitivity",
    "sensitivity_frames",
    "attempts",
)
