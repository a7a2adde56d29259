"""One stream of two cameras under a schedule of faults that a number decides, and what holds whatever comes.

``Drive(seed, ...)`` chooses settings and steps from the seed alone before anything runs. What must hold is in
:mod:`stream_promises`.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from fault_parts import Adopting, Model, Sometimes, Unreliable
from filling_disk import FillingDisk
from stream_parts import HW, stream_of
from stream_promises import AT_THE_END, INVARIANTS, OF_RESULTS, STALE_S
from suspension import Suspension

from danet_runtime import Segmenter, Stream
from danet_runtime.bundle import Bundle
from danet_runtime.clock import now_ns
from danet_runtime.errors import BackendError, DanetError, FaultError, SinkError, SourceError
from danet_runtime.recorder.recorder import FlightRecorder
from danet_runtime.sinks import open_sink
from danet_runtime.stream.state.slots import Policy

STEPS: Final = 12
CAMERAS: Final = ("front", "rear")
SIZES: Final = (HW, (24, 32), (32, 80))
HANG_S: Final = 1.0
"""An inference that takes longer is a fault; far more than a busy machine may need for one."""

OPENING_ERRORS: Final = (
    SourceError("still unplugged"),
    OSError(24, "Too many open files"),
    OSError(12, "Cannot allocate memory"),
    RuntimeError("can't start new thread"),
    MemoryError(),
    ValueError("what a driver says"),
)


class Drive:
    """See the module.

    Args:
        seed: Decides settings and steps.
        bundle: Bundle for frames of :data:`stream_parts.HW`.
        folder: Empty; outputs go there.
        machine: Whose clocks are shifted.
        disk: Which has no room for a while, of the same folder.
    """

    def __init__(
        self, seed: int, bundle: Bundle, folder: Path, machine: Suspension, disk: FillingDisk
    ) -> None:
        dice = random.Random(seed)
        self.seed, self.folder, self.machine, self.disk = seed, folder, machine, disk
        self.plan = [(dice.choices(list(KINDS), [KINDS[kind][1] for kind in KINDS])[0], dice.random())
                     for _ in range(STEPS)]  # fmt: skip
        self.policy: Policy | None = dice.choice((None, None, "every"))
        self.deadline_ms = dice.choice((None, 0.5, 1000.0))
        has_files = dice.random() < 0.5
        self.model = Model()
        self.cameras = {name: Unreliable() for name in CAMERAS}
        self.sinks = {name: [Sometimes(), Adopting()] for name in CAMERAS}
        self.outputs = folder / "outputs"
        self.files = [self.outputs / "drive.mkv", self.outputs / "drive.jsonl"] if has_files else []
        self.taken: set[str] = set()  # names of files that somebody has taken away
        self.to_be_told: set[str] = set()  # those that were being written then
        self.had_no_room = False
        self.box = FlightRecorder(folder / "boxes", seconds=5.0, keep=3)
        self.seen: dict[str, list[int]] = defaultdict(list)
        self.broken: list[str] = []  # invariants of results that did not hold
        self.error: BaseException | None = None
        self.causes: set[type[BaseException]] = set()  # what the schedule may end in
        self.pauses = 0
        self.failed_inferences = 0
        self.others: list[threading.Thread] = []
        self.ended: threading.Event = threading.Event()
        self.parted: list[Any] = [open_sink(str(path)) for path in self.files]
        self.stream: Stream = stream_of(
            Segmenter(bundle, backend=self.model),
            self.cameras,
            {
                "front": [*self.sinks["front"], *self.parted, self.box],
                "rear": [*self.sinks["rear"], self.box],
            },
            policy=self.policy,
            deadline_ms=self.deadline_ms,
            late="drop" if self.deadline_ms == 0.5 else "mark",
            reconnect_first_s=0.002,
            reconnect_most_s=0.05,
            source_timeout_s=0.03,
            open_timeout_s=0.03,
            inference_timeout_s=HANG_S,
            watch_every_s=0.005,
            stale_after_s=STALE_S,
            damage_shown_s=0.02,
            jump_shown_s=0.05,
            sink_failures=5,
        )
        self.stream.health.listen(self.box.note)

    def run(self) -> None:
        """Drive to the end; raises ``AssertionError`` with the first invariant that does not hold."""
        reader = threading.Thread(target=self._read, daemon=True)
        try:
            self.stream.start()
            reader.start()
            for number, (kind, chance) in enumerate(self.plan):
                KINDS[kind][0](self, chance)
                time.sleep(0.01)
                self._check(INVARIANTS, f"after step {number}, {kind}")
        finally:
            self.disk.is_full = False
            self.model.free.set()
            self._end()
        self._check(INVARIANTS, "at the end")
        self._check(AT_THE_END, "at the end")

    def _end(self) -> None:
        closing = [threading.Thread(target=self._close) for _ in range(1 + self.seed % 3)]
        if self.seed % 2:
            self.stream.stop()
        for thread in closing:
            thread.start()
        for thread in [*closing, *self.others]:
            thread.join(20)
        self.ended.wait(20)
        self.box.finish()

    def _close(self) -> None:
        with suppress(DanetError):
            self.stream.close()

    def _read(self) -> None:
        try:
            for result in self.stream:
                self.seen[result.source].append(result.frame_id)
                self.broken += [name for name, holds in OF_RESULTS.items() if not holds(self, result)]
        except BaseException as error:  # noqa: BLE001 - looked at by the invariants
            self.error = error
        finally:
            self.ended.set()

    def _check(self, invariants: dict[str, Callable[[Drive], bool]], when: str) -> None:
        wrong = [*self.broken, *(name for name, holds in invariants.items() if not holds(self))]
        if wrong:
            steps = ", ".join(f"{kind} {chance:.2f}" for kind, chance in self.plan)
            raise AssertionError(
                f"seed {self.seed}, {when}: it does not hold that {'; that '.join(dict.fromkeys(wrong))}. "
                f"Steps: {steps}. Policy {self.policy}, deadline {self.deadline_ms}, error {self.error!r}, "
                f"health {self.stream.health.state} {self.stream.health.reasons}"
            )

    def taken_away(self, file: Path, how: str | None) -> None:
        """Somebody does away with an output, without its folder; ``None``: the folder is removed after."""
        self.taken.add(file.name)
        with suppress(FileNotFoundError):
            if how == "moved":
                file.rename(self.folder / f"elsewhere{len(self.taken)}{file.suffix}")
            elif how is not None:
                file.unlink()
        for sink in self.parted:
            part = sink._part
            if part is not None and part.path == file and part.descriptor >= 0:
                self.to_be_told.add(file.name)
        if how == "replaced" and self.outputs.is_dir():
            file.write_text("{}", encoding="utf-8")

    def camera(self, chance: float) -> Unreliable:
        """One of them."""
        return self.cameras[CAMERAS[int(chance * 1000) % 2]]


# What happens; each with a number of 0..1 for its own choices.


def _trouble(drive: Drive, chance: float) -> None:
    camera = drive.camera(chance)
    camera.refuse = camera.reopened + 1
    camera.trouble = ("die", "hang", "clock", None)[int(chance * 4)]


def _refused(drive: Drive, chance: float) -> None:
    camera = drive.camera(chance)
    camera.errors = [OPENING_ERRORS[int(chance * 97 + place) % len(OPENING_ERRORS)] for place in range(3)]
    camera.trouble = "die"


def _mute(drive: Drive, chance: float) -> None:
    camera = drive.camera(chance)
    camera.is_mute, camera.trouble = True, "die"


def _damaged(drive: Drive, chance: float) -> None:
    drive.camera(chance).damaged = 1 + int(chance * 5)


def _another_size(drive: Drive, chance: float) -> None:
    camera = drive.camera(chance)
    camera.comes_as, camera.trouble = SIZES[int(chance * 3)], "die"


def _process_stands_still(drive: Drive, chance: float) -> None:
    before = now_ns()
    drive.pauses += 1
    drive.machine.sleep(1.5 + 60 * chance)
    for camera in drive.cameras.values():
        camera.waiting = [before] * 3


def _wall_clock_is_set(drive: Drive, chance: float) -> None:
    drive.machine.set_wall_clock(7200 * (chance - 0.5))


def _model_fails(drive: Drive, chance: float) -> None:
    drive.failed_inferences += 1 + int(chance * 4)
    drive.model.failures = 1 + int(chance * 4)
    if drive.policy == "every":
        drive.causes.add(BackendError)
    elif drive.failed_inferences >= 3:
        drive.causes.add(FaultError)


def _model_hangs(drive: Drive, chance: float) -> None:
    is_long = chance < 0.15
    if is_long:
        drive.causes.add(FaultError)
    drive.model.free.clear()
    time.sleep(HANG_S + 0.2 if is_long else 0.01)
    drive.model.free.set()


def _sink_fails(drive: Drive, chance: float) -> None:
    drive.causes.add(SinkError)
    drive.sinks[CAMERAS[int(chance * 1000) % 2]][int(chance * 2)].failures = 1 + int(chance * 6)


def _disk_is_full(drive: Drive, chance: float) -> None:
    if not drive.files:
        return
    drive.causes.add(SinkError)
    drive.had_no_room = drive.disk.is_full = True
    time.sleep(0.03 * chance)
    if chance < 0.8:  # else until the end, or the next time
        drive.disk.is_full = False


def _output_is_taken_away(drive: Drive, chance: float) -> None:
    there = sorted(drive.outputs.glob("drive*")) if drive.outputs.is_dir() else []
    if not there:
        return
    drive.causes.add(SinkError)
    whole = chance < 0.3
    if not whole:
        how = ("removed", "moved", "replaced")[int(chance * 97) % 3]
        drive.taken_away(there[int(chance * 1000) % len(there)], how)
        return
    gone = drive.folder / f"gone{len(drive.taken)}"
    drive.outputs.rename(gone)  # in one step: what a sink makes from here on is in a folder of its own
    for file in gone.iterdir():
        drive.taken_away(drive.outputs / file.name, None)
    shutil.rmtree(gone)


def _sink_slows(drive: Drive, chance: float) -> None:
    sink = drive.sinks[CAMERAS[int(chance * 1000) % 2]][int(chance * 2)]
    sink.pause_s = 0.0 if chance < 0.4 else 0.02


def _thread_dies(drive: Drive, chance: float) -> None:
    name = CAMERAS[int(chance * 1000) % 2]
    part, error = (
        (drive.cameras[name], SourceError),
        (drive.model, FaultError),
        (drive.sinks[name][0], SinkError),
    )[int(chance * 3)]
    drive.causes.add(error)
    part.snare.spring()


def _asked_from_many_threads(drive: Drive, chance: float) -> None:
    def ask() -> None:
        for _ in range(5):
            mask = drive.stream.latest(1e3 * STALE_S, CAMERAS[int(chance * 2)])
            if mask is not None and mask.age_ms > 1e3 * STALE_S:
                drive.broken.append("nothing older than asked is given out")
            drive.stream.report()

    drive.others += [threading.Thread(target=ask) for _ in range(3)]
    for thread in drive.others[-3:]:
        thread.start()


def _flight_recorder_is_asked_for(drive: Drive, chance: float) -> None:
    for _ in range(1 + int(chance * 3)):
        drive.box.request("somebody asked")


def _stopped(drive: Drive, chance: float) -> None:
    if chance < 0.2:
        drive.stream.stop()


def _closed_from_elsewhere(drive: Drive, chance: float) -> None:
    if chance < 0.15:
        drive.others.append(threading.Thread(target=drive._close))
        drive.others[-1].start()


def _nothing(drive: Drive, chance: float) -> None:
    time.sleep(0.01 * chance)


KINDS: Final[dict[str, tuple[Callable[[Drive, float], None], float]]] = {
    "trouble": (_trouble, 3),
    "refused": (_refused, 2),
    "mute": (_mute, 1),
    "damaged": (_damaged, 2),
    "another size": (_another_size, 2),
    "standstill": (_process_stands_still, 2),
    "wall clock set": (_wall_clock_is_set, 1),
    "model fails": (_model_fails, 1),
    "model hangs": (_model_hangs, 1),
    "sink fails": (_sink_fails, 2),
    "disk full": (_disk_is_full, 1.5),
    "output taken away": (_output_is_taken_away, 1.5),
    "sink slows": (_sink_slows, 2),
    "thread dies": (_thread_dies, 0.3),
    "many threads ask": (_asked_from_many_threads, 1),
    "flight recorder": (_flight_recorder_is_asked_for, 1),
    "stopped": (_stopped, 1),
    "closed": (_closed_from_elsewhere, 1),
    "nothing": (_nothing, 3),
}
"""What may happen, and how often."""
