"""What ``danet run`` says at the end of outputs that did not get everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from danet_runtime.report import StreamReport


def failed_sinks(report: StreamReport) -> list[str]:
    """One line for each output that nothing got through, or that was given up; the exit code is 1 then."""
    found = []
    for key, sink in _sinks_of(report):
        failed, tried = sink["failed"], sink["written"] + sink["failed"]
        why = _reason(report, key)
        if sink["given_up"]:
            found.append(
                f"{key} was given up: {failed} of {tried} writes failed{_also_dropped(sink)}, and what came "
                f"later is not in it{why}"
            )
        elif not sink["written"] and (failed or sink["dropped"]):
            found.append(
                f"{key}: nothing got through, {failed} of {tried} writes failed{_also_dropped(sink)}{why}"
            )
        elif not sink["written"] and sink.get("skipped"):
            found.append(
                f"{key}: nothing got through, all {sink['skipped']} results had another size than it takes"
            )
        elif sink.get("not_encoded") and not sink.get("kept"):
            found.append(
                f"{key}: nothing was kept, {sink['not_encoded']} frames could not be encoded or are too large"
            )
    return found


def impaired_sinks(report: StreamReport) -> list[str]:
    """One line for each output that went on although it has holes, and told so meanwhile."""
    found = []
    for key, sink in _sinks_of(report):
        if sink["written"] and not sink["given_up"]:
            failed, skipped = sink["failed"], sink.get("skipped")
            if failed:
                found.append(
                    f"{key}: {failed} of {sink['written'] + failed} writes failed{_reason(report, key)}"
                )
            if skipped:
                found.append(f"{key}: {skipped} results had another size than it takes, and are not in it")
    return found


def _sinks_of(report: StreamReport) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every sink under the name that the health calls it by."""
    for camera in report.cameras:
        sinks: Sequence[Mapping[str, Any]] = camera["sinks"]
        kinds = [sink["kind"] for sink in sinks]
        for index, sink in enumerate(sinks):
            is_only = kinds.count(sink["kind"]) == 1
            yield f"{camera['name']}.{sink['kind']}{'' if is_only else f'-{index}'}", sink


def _also_dropped(sink: Mapping[str, Any]) -> str:
    return f" and {sink['dropped']} results came while it was busy" if sink["dropped"] else ""


def _reason(report: StreamReport, key: str) -> str:
    """The latest that was said of it, in one line."""
    events = report.health.get("events", ())
    told = [
        *report.health.get("reasons", ()),
        *(one for event in reversed(events) for one in event["reasons"]),
    ]
    for reason in told:
        for verb in (" fails: ", " was given up: "):
            if reason.startswith(key + verb):
                return "; last: " + " ".join(reason[len(key + verb) :].split())
    return ""
