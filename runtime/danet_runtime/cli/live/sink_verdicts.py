"""Messages of ``danet run`` at its end about outputs that did not get every frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from danet_runtime.stream.report import StreamReport


def failed_sinks(report: StreamReport) -> list[str]:
    """Return a line for each output that received nothing, was given up, or is incomplete.

    The exit code is 1 then. A file or folder with a hole is not whole; what is sent to a network only has
    gaps, see :func:`impaired_sinks`.
    """
    found = _all_late(report)
    for key, sink in _sinks_of(report):
        failed, tried = sink["failed"], sink["written"] + sink["failed"]
        why = _reason(sink)
        if sink["given_up"]:
            found.append(
                f"{key} was given up: {failed} of {tried} writes failed{_also_dropped(sink)}, and what came "
                f"later is not in it{why}"
            )
        elif not sink["written"] and (failed or sink["dropped"]):
            found.append(
                f"{key}: nothing got through, {failed} of {tried} writes failed{_also_dropped(sink)}"
                f"{_never_sent(sink)}{why}"
            )
        elif not sink["written"] and sink.get("skipped"):
            found.append(
                f"{key}: nothing got through, all {sink['skipped']} results had another size than it takes"
            )
        elif sink.get("holes") or (failed and _is_kept(sink)):
            reasons = [*sink.get("holes", ()), *([f"{failed} of {tried} writes failed"] if failed else [])]
            found.append(f"{key} is not whole: {'; '.join(reasons)}{'' if sink.get('holes') else why}")
        elif sink.get("not_encoded") and not sink.get("kept"):
            found.append(
                f"{key}: nothing was kept, {sink['not_encoded']} frames could not be encoded or are too large"
            )
    return found


def impaired_sinks(report: StreamReport) -> list[str]:
    """Return a line for each output that went on although something is missing, as it reported meanwhile.

    Writes that failed are named for what is sent to a network only: a file with a hole is a failure.
    """
    found = []
    for key, sink in _sinks_of(report):
        if sink["written"] and not sink["given_up"]:
            failed, skipped = sink["failed"], sink.get("skipped")
            if failed and not _is_kept(sink):
                found.append(
                    f"{key}: {failed} of {sink['written'] + failed} writes failed{_never_sent(sink)}"
                    f"{_reason(sink)}"
                )
            if skipped:
                found.append(f"{key}: {skipped} results had another size than it takes, and are not in it")
    return found


def _all_late(report: StreamReport) -> list[str]:
    """Return a line for each camera whose results were all too late to be delivered."""
    return [
        f"{camera['name']}: nothing got through to its outputs: all {frames['late_dropped']} results were "
        "late and dropped; give a longer --deadline-ms, a --fallback of faster bundles, or --late mark"
        for camera in report.cameras
        if (frames := camera["frames"])["late_dropped"] and not frames["out"]
    ]


def _is_kept(sink: Mapping[str, Any]) -> bool:
    """Return whether a sink writes files, which somebody will rely on later."""
    from danet_runtime.sinks import SINKS

    return sink["kind"] in {one.statement.name for one in SINKS if one.statement.writes is not None}


def _sinks_of(report: StreamReport) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every sink under the name that the health uses for it."""
    for camera in report.cameras:
        sinks: Sequence[Mapping[str, Any]] = camera["sinks"]
        kinds = [sink["kind"] for sink in sinks]
        for index, sink in enumerate(sinks):
            is_only = kinds.count(sink["kind"]) == 1
            yield f"{camera['name']}.{sink['kind']}{'' if is_only else f'-{index}'}", sink


def _also_dropped(sink: Mapping[str, Any]) -> str:
    return f" and {sink['dropped']} results came while it was busy" if sink["dropped"] else ""


def _never_sent(sink: Mapping[str, Any]) -> str:
    return f"; {sink['unsent']} of them were taken and never left this machine" if sink.get("unsent") else ""


def _reason(sink: Mapping[str, Any]) -> str:
    """Return the reason of a sink's latest failure, in one line."""
    why = sink["last_failure"]
    return f"; last: {' '.join(why.split())}" if why else ""
