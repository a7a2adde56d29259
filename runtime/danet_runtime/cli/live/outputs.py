"""Outputs of ``danet run``: those of each camera, with the placeholders in their paths filled in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from danet_runtime.cli.console.printing import tell
from danet_runtime.cli.live.placeholders import ALL_CAMERAS, CAMERA, Placeholders

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from danet_runtime.cli.live.collisions import Place, PlaceKind
    from danet_runtime.results.style import OverlayStyle
    from danet_runtime.sinks.protocol.sink import Sink


@dataclass(frozen=True)
class OutputOptions:
    """The options of `danet run` that say what is written, as they were given.

    Attributes:
        output: Overlay video.
        masks: Folder of masks.
        further: Further sinks.
        flight_recorder: Folder of flight recordings.
        report: The report; ``None``: beside the others.
        split_minutes: Minutes after which videos and JSON lines begin a new part; ``None``: never.
        overwrite: Whether files that exist may be replaced.
    """

    output: Path | None = None
    masks: Path | None = None
    further: Sequence[str] = ()
    flight_recorder: Path | None = None
    report: Path | None = None
    split_minutes: float | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Outputs:
    """Everything that a run is asked to write, with the placeholders filled in.

    Attributes:
        sinks: Texts that name the sinks, by camera.
        recordings: Folders of the flight recordings, by camera.
        report: The report; ``None``: there is none.
        split_minutes: Minutes after which videos and JSON lines begin a new part; ``None``: never.
        overwrite: Whether files that exist may be replaced.
    """

    sinks: dict[str, list[str]]
    recordings: dict[str, Path]
    report: Path | None
    split_minutes: float | None
    overwrite: bool

    @classmethod
    def of(cls, cameras: Sequence[str], options: OutputOptions) -> Outputs:
        """Return the outputs that the options of ``danet run`` ask for.

        Raises:
            UsageError: A placeholder is unknown, or is missing with several cameras; or there is nothing to
                split.
        """
        from danet_runtime.errors import UsageError
        from danet_runtime.sinks import sink_target

        filling = Placeholders(len(cameras))
        given = [
            *([("--output", str(options.output))] if options.output else []),
            *([("--masks", f"masks:{options.masks}")] if options.masks else []),
            *(("--sink", text) for text in options.further),
        ]
        sinks = {name: [_filled(filling, text, name, option) for option, text in given] for name in cameras}
        recordings = {}
        flight_recorder = options.flight_recorder
        for name in cameras if flight_recorder is not None else ():
            recording = Path(
                filling.fill(str(flight_recorder), name, "--flight-recorder", needs_camera=False)
            )
            recordings[name] = (
                recording if len(cameras) == 1 or CAMERA in str(flight_recorder) else recording / name
            )
        if options.split_minutes is not None and not any(
            sink_target(text).sink.statement.writes == "file" for texts in sinks.values() for text in texts
        ):
            raise UsageError(
                "--split-minutes splits videos and JSON lines, and none is written; add -o or --sink"
            )
        one = cameras[0] if len(cameras) == 1 else ALL_CAMERAS
        report = options.report
        beside = report or _report_beside(options.output, options.masks)
        if report is not None and len(cameras) > 1 and CAMERA in str(report):
            raise UsageError(f"--report is one for all cameras; leave {CAMERA} out (got {report})")
        report_path = (
            None if beside is None else Path(filling.fill(str(beside), one, "--report", needs_camera=False))
        )
        return cls(sinks, recordings, report_path, options.split_minutes, options.overwrite)

    def check(self, sources: dict[str, str], bundles: Sequence[Path]) -> None:
        """Refuse what would overwrite a source, a bundle or another output, and what cannot be written.

        Raises:
            UsageError: There is such an output.
        """
        from danet_runtime.cli.live.collisions import check_apart
        from danet_runtime.errors import UsageError
        from danet_runtime.files.atomic import check_file_target
        from danet_runtime.files.targets import is_taken

        places = self.places()
        check_apart(sources, bundles, places)
        if self.report is not None and is_taken(self.report) and not self.overwrite:
            raise UsageError(
                f"{self.report} exists already; give another path with --report, or --overwrite to replace it"
            )
        for place in places:
            if place.kind == "file" and not place.path.is_file():
                check_file_target(place.path)

    def warn_of_nothing(self) -> None:
        """Say on standard error that nothing will be written, where that is so."""
        if self.report is None and not self.recordings and not any(self.sinks.values()):
            tell(
                "danet: warning: nothing will be written, only counted and timed; -o FILE writes an overlay, "
                "--masks FOLDER the labels, --report FILE the figures",
                err=True,
            )

    def check_counts(self, counts: Mapping[str, int | None]) -> None:
        """Refuse a single picture as the output of a camera that gives several frames.

        Args:
            counts: Frames that each camera gives; ``None`` where that is not known.

        Raises:
            UsageError: There is such an output.
        """
        from danet_runtime.errors import UsageError
        from danet_runtime.sinks import sink_target

        for name, texts in self.sinks.items():
            for text in texts:
                if sink_target(text).sink.statement.writes == "picture" and counts[name] != 1:
                    frames = "frames without end" if counts[name] is None else f"{counts[name]} frames"
                    raise UsageError(
                        f"{text} is one picture, and {name} gives {frames}; give overlays:FOLDER or a video, "
                        "or --max-frames 1"
                    )

    def remove_leftovers(self) -> None:
        """Remove what a killed run left unfinished of its report.

        Sinks and flight recordings do so themselves.
        """
        from danet_runtime.files.partials import remove_dead
        from danet_runtime.files.targets import followed

        if self.report is not None:
            remove_dead(followed(self.report))

    def places(self) -> list[Place]:
        """Every file and folder that will be written to; of what is split, the name and the parts known.

        Raises:
            UsageError: A text names no sink, or two sinks share a name that is no path.
        """
        from danet_runtime.cli.live.collisions import Place
        from danet_runtime.errors import UsageError
        from danet_runtime.sinks import sink_target
        from danet_runtime.sinks.writing.parts import part_path, parts_of
        from danet_runtime.sources.protocol.uri import redacted

        places = []
        others: set[str] = set()
        for name, texts in self.sinks.items():
            for text in texts:
                target = sink_target(text)
                statement = target.sink.statement
                if target.path is not None:
                    kind: PlaceKind = "masks" if statement.writes == "folder" else "file"
                    paths = [target.path]
                    if self.split_minutes is not None and kind == "file":
                        paths += [part_path(target.path, 0), *parts_of(target.path)]
                    places += [Place(f"{text} of {name}", path, kind) for path in dict.fromkeys(paths)]
                elif not statement.is_shared:
                    address = target.rest.partition("?")[0] if statement.options else target.rest
                    if (whole := f"{target.kind} {address}") in others:
                        raise UsageError(f"two outputs are {redacted(text)!r}; give each its own name")
                    others.add(whole)
        places += [
            Place(f"--flight-recorder of {name}", folder, "folder")
            for name, folder in self.recordings.items()
        ]
        if self.report is not None:
            places.append(Place("--report", self.report))
        return places

    def open_sinks(
        self, style: OverlayStyle | None = None, *, grey_masks: bool = False
    ) -> dict[str, list[Sink]]:
        """The sinks of each camera, without the flight recordings.

        Raises:
            UsageError: A text names no sink, or a file that exists and may not be replaced.
        """
        from danet_runtime.sinks import open_sink

        return {
            name: [
                open_sink(
                    text,
                    style=style,
                    overwrite=self.overwrite,
                    split_minutes=self.split_minutes,
                    grey_masks=grey_masks,
                )
                for text in texts
            ]
            for name, texts in self.sinks.items()
        }


def _filled(filling: Placeholders, text: str, camera: str, option: str) -> str:
    """Return the text that names a sink, with its placeholders filled in."""
    from danet_runtime.sinks.registry import sink_by_scheme

    sink = sink_by_scheme(text)
    scheme, _, rest = text.partition(":")
    return filling.fill(
        text,
        camera,
        option,
        needs_camera=sink is None or bool(rest) or not sink.statement.is_shared,
        has_braces=sink is not None and scheme in sink.statement.own_braces,
    )


def _report_beside(output: Path | None, masks: Path | None) -> Path | None:
    """Return the default path of the report: beside the video or picture, or in the folder."""
    from danet_runtime.files.names import fitting_name
    from danet_runtime.sinks import sink_target

    if output is not None:
        target = sink_target(output)
        if target.path is not None and target.sink.statement.writes == "folder":
            return target.path / "report.json"
        return output.with_name(fitting_name(output.stem, ".json"))
    return masks / "report.json" if masks is not None else None
