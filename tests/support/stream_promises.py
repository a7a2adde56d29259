"""What a stream promises under any schedule of faults (:mod:`fault_schedules`), each by its name.

:data:`INVARIANTS` are looked at after every step and at the end, :data:`OF_RESULTS` at every result that the
caller gets, :data:`AT_THE_END` once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2

from danet_runtime.errors import FaultError
from danet_runtime.recorder.reader import FlightRecording
from danet_runtime.results.result import Result

if TYPE_CHECKING:
    from fault_schedules import Drive

STALE_S: Final = 0.05


def _belongs_together(drive: Drive, result: Result) -> bool:
    number = result.frame_id % 251
    return bool((result.frame == number).all() and (result.labels == number).all())


def _has_size_of_camera(drive: Drive, result: Result) -> bool:
    size_hw = drive.cameras[result.source].sizes_hw.get(result.frame_id)
    return result.labels.shape == result.frame.shape[:2] == size_hw


def _has_true_age(drive: Drive, result: Result) -> bool:
    """Where the camera's clock is not the fault itself; ids are those of the camera."""
    taken_ns = drive.cameras[result.source].taken_ns.get(result.frame_id)
    return taken_ns is not None and result.capture_time_ns <= taken_ns


def _has_honest_health(drive: Drive, result: Result) -> bool:
    is_old = result.age_ms > 1e3 * STALE_S
    return not (result.health == "ready" and (result.damage is not None or is_old))


OF_RESULTS: Final[dict[str, Callable[[Drive, Result], bool]]] = {
    "frame and labels belong together": _belongs_together,
    "frame and labels have the size that the camera gave": _has_size_of_camera,
    "no age is below the true one": _has_true_age,
    "what is damaged or old is not ready": _has_honest_health,
}
"""Promises of every result."""


def _ids_grow(drive: Drive) -> bool:
    return all(ids == sorted(set(ids)) for ids in map(list, list(drive.seen.values())))


def _was_captured(drive: Drive) -> bool:
    return all(not ids or ids[-1] < drive.cameras[name]._total for name, ids in list(drive.seen.items()))


def _slots_are_bounded(drive: Drive) -> bool:
    return all(
        len(pipeline.slots.slots) <= 2 * pipeline.slots.count for pipeline in drive.stream._loop._pipelines
    )


INVARIANTS: Final[dict[str, Callable[[Drive], bool]]] = {
    "ids only grow": _ids_grow,
    "every result is of a frame that was captured": _was_captured,
    "slots are bounded": _slots_are_bounded,
    "a fault has a cause": lambda drive: drive.stream.health.state != "fault" or FaultError in drive.causes,
}
"""At every moment."""


def _frames_are_counted(drive: Drive) -> bool:
    for camera in drive.stream.report().cameras:
        frames = camera["frames"]
        delivered = drive.cameras[camera["name"]].delivered
        pauses = drive.pauses + len(drive.cameras[camera["name"]].resumed_ns)
        # Each is counted where it happens, none as what is left of the others. One that may have waited
        # through a standstill is left out before it is counted.
        adds_up = frames["in"] == sum(count for key, count in frames.items() if key != "in")
        if not adds_up or not delivered - pauses <= frames["in"] <= delivered:
            return False
        for sink in camera["sinks"]:
            if sink["written"] + sink["dropped"] + sink["skipped"] + sink["failed"] > frames["in"]:
                return False
    return True


def _sinks_are_finished(drive: Drive) -> bool:
    return all(
        sink.closed == 1 and sink.ids == sorted(set(sink.ids))
        for sinks in drive.sinks.values()
        for sink in sinks
    )


def _files_are_readable(drive: Drive) -> bool:
    return all(_is_readable(drive, sink) for sink in _files_told(drive))


def _is_readable(drive: Drive, sink: dict[str, Any]) -> bool:
    """Each part that nobody took away has the frames that are told of it, and all parts have all of them."""
    parts = [part for part in sink.get("parts", [sink]) if part["frames"]]
    if sum(part["frames"] for part in parts) != sink["written"]:
        return False
    for part in parts:
        path = Path(part["path"])
        if path.name in drive.taken:
            continue
        found = _readable_frames(path) if path.is_file() else -1
        # A video that broke off on a full disk may lack its last half second.
        is_cut = drive.had_no_room and path.suffix == ".mkv"
        if not (0 <= found <= part["frames"] if is_cut else found == part["frames"]):
            return False
    return True


def _files_told(drive: Drive) -> list[dict[str, Any]]:
    sinks = drive.stream.report().cameras[0]["sinks"]
    return [sink for sink in sinks if sink.get("kind") in ("video", "jsonl")]


def _losses_are_told(drive: Drive) -> bool:
    """What was taken away while it was written had frames in it: then the output says so."""
    for sink in _files_told(drive):
        for part in sink.get("parts", [sink]):
            if part["frames"] and Path(part["path"]).name in drive.to_be_told and not sink["holes"]:
                return False
    return True


def _readable_frames(path: Path) -> int:
    if path.suffix == ".jsonl":
        ids = [json.loads(line)["frame_id"] for line in path.read_text(encoding="utf-8").splitlines()]
        return len(ids) if ids == sorted(set(ids)) else -1
    video, count = cv2.VideoCapture(str(path)), 0
    while video.grab():
        count += 1
    video.release()
    return count


def _boxes_are_readable(drive: Drive) -> bool:
    boxes = list(drive.box.written)
    for box in boxes:
        for recorded in FlightRecording(box):
            if recorded.labels.shape != recorded.frame.shape[:2]:
                return False
    there = [path for path in (drive.folder / "boxes").glob("*") if path.is_dir()]
    return len(there) <= 3 and all(box in there for box in boxes)


def _error_has_a_cause(drive: Drive) -> bool:
    error: Any = drive.error
    return error is None or any(isinstance(error, cause) for cause in drive.causes)


def _slots_are_given_back(drive: Drive) -> bool:
    """But for the newest, what nobody has asked for, and what a thread holds that was killed or given up."""
    for pipeline in drive.stream._loop._pipelines:
        delivery = pipeline.delivery
        readers = {delivery._newest, drive.stream._loop._caller._items[pipeline.camera.number]}
        hanging = sum(worker.thread.is_alive() for worker in pipeline.workers)
        lost = hanging + (drive.stream.health.state == "fault")
        if len(pipeline.slots.held.keys() - readers) > lost:
            return False
    return True


AT_THE_END: Final[dict[str, Callable[[Drive], bool]]] = {
    "it ends": lambda drive: drive.ended.is_set(),
    "no thread waits for it": lambda drive: not any(thread.is_alive() for thread in drive.others),
    "every captured frame is delivered, dropped or counted": _frames_are_counted,
    "every slot is given back": _slots_are_given_back,
    "every sink is finished once": _sinks_are_finished,
    "what is told as written can be read, but for what was taken away": _files_are_readable,
    "what was taken away while it was written is told": _losses_are_told,
    "every flight recording can be read, and no more are kept than was asked": _boxes_are_readable,
    "an error has a cause, which is never a pause, a new size or a failed opening": _error_has_a_cause,
    "an error that asks for a restart is a fault of the health": lambda drive: (
        not isinstance(drive.error, FaultError) or drive.stream.health.state == "fault"
    ),
}
"""When it has ended."""
