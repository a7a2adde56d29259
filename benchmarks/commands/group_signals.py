"""Every command, signalled as a whole process group at seeded moments: how it ends, and what it leaves.

    python -m benchmarks.commands.group_signals --times 50     # writes benchmarks/results/group_signals.json

Terminals, service managers and ``timeout`` signal the group, so a command's helpers get what it gets. Each
command runs once to its end for how long it takes; then it is signalled, a moment within that time and the
kind of signal drawn for each attempt.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
from rich.console import Console
from rich.table import Table

from benchmarks.places import results_file
from benchmarks.process import DANET
from danet_runtime.bundle.verification import verify_bundle
from danet_runtime.machine import describe_machine

CONFIG: Final = """
model: {depth: 18, base_channels: 4, stem_channels: 4, head_channels: 8, attention_channels: 4}
augmentation: {crop_hw: [32, 48]}
optimiser: {kind: adamw, lr: 0.01}
batch_size: 2
steps: 100
workers: 2
device: cpu
"""
TRAIN: Final = "train --data {in}/scenes --config {in}/tiny.yaml -o {out}/c.pt"
COMMANDS: Final = {
    "synthesize": "synthesize {out}/scenes --train 60 --val 8 --video-frames 8 --size 64x96",
    "train": TRAIN,
    "eval": "eval {in}/c.pt --data {in}/scenes --json {out}/scores.json --predictions {out}/masks",
    "explain": "explain {in}/c.pt {in}/frame.png -o {out}/picture.png",
    "import": "import {in}/c.pt -o {out}/c.pt",
    "export": "export {in}/c.pt --size 64x96 -o {out}/bundle",
    "calibrate": "calibrate {in}/bundle --data {in}/scenes --count 8 -o {out}/bundle --method max",
    "build": "build {in}/bundle --backend tensorrt-rtx:fp16 --target sm_89 --engine-dir {out}/engines",
    "run": "run {in}/bundle {in}/scenes/video/street.mp4 --realtime -o {out}/o.mp4 --masks {out}/masks",
    "compare": "compare {in}/bundle --data {in}/scenes -o {out}/report --b onnxruntime:fp16",
}
"""Each command with its arguments; ``{in}`` is what :func:`prepare` made, ``{out}`` an empty folder."""

SIGNALS: Final = {
    "Ctrl-C": (signal.SIGINT,),
    "systemd": (signal.SIGTERM, signal.SIGCONT),
    "timeout": (signal.SIGTERM, signal.SIGTERM, signal.SIGCONT, signal.SIGCONT),
    "terminal closed": (signal.SIGHUP, signal.SIGCONT),
}
"""The signals of each sender, one right behind the other."""

MARKERS: Final = (".danet-predictions",)
"""Hidden files that belong to an output; all others are leftovers."""

_ENDS_WITHIN_S = 120.0
"""Far more than any end may take beside other work; what hangs takes for ever."""


@dataclass(frozen=True)
class Ending:
    """How one attempt ended.

    Attributes:
        kind: Key in :data:`SIGNALS`.
        after_s: When the signal was sent.
        code: The exit code; negative: the signal that ended it.
        ready: Whether danet handled signals by then; before, nothing of it has run.
        problems: What is not as it should be; empty: nothing.
    """

    kind: str
    after_s: float
    code: int
    ready: bool
    problems: tuple[str, ...]


def prepare(folder: Path) -> None:
    """Make what the commands read: scenes, a configuration, a checkpoint, a bundle, a picture."""
    (folder / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    for line in (
        "synthesize {in}/scenes --train 12 --val 6 --video-frames 40 --size 64x96",
        f"{TRAIN} steps=6 workers=0".replace("{out}", "{in}"),
        "export {in}/c.pt --size 64x96 -o {in}/bundle",
    ):
        subprocess.run(_command(line, folder, folder), check=True, capture_output=True)
    (picture,) = list(folder.glob("scenes/leftImg8bit/val/*/*_000000_*.png"))
    (folder / "frame.png").write_bytes(picture.read_bytes())


def duration_s(name: str, inputs: Path, out: Path) -> float:
    """Run a command to its end, and say how long that takes."""
    out.mkdir()
    begun = time.monotonic()
    subprocess.run(_command(COMMANDS[name], inputs, out), check=True, capture_output=True)
    return time.monotonic() - begun


def attempt(name: str, inputs: Path, out: Path, kind: str, after_s: float) -> Ending:
    """Run a command, signal its group after some seconds, and look at what is left."""
    out.mkdir()
    errors_file, printed = out.with_suffix(".stderr"), out.with_suffix(".stdout")
    with errors_file.open("wb") as errors, printed.open("wb") as output:
        process = subprocess.Popen(
            _command(COMMANDS[name], inputs, out),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    time.sleep(after_s)
    ready = _handles(process.pid, signal.SIGTERM)
    for number in SIGNALS[kind]:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    problems = []
    try:
        code = process.wait(_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        problems.append("it does not end")
    if _group_lives(process.pid):
        problems.append("processes are left")
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    words = errors_file.read_text(encoding="utf-8", errors="replace")
    left = [str(path.relative_to(out)) for path in out.rglob(".*") if path.name not in MARKERS]
    if ready or code >= 0:
        problems += [f"exit code {code}"] if code not in ((0, 1) if ready else (0, 1, 130)) else []
        problems += [f"trace: {words.splitlines()[-1]}"] if ready and "Traceback" in words else []
        problems += ["no word of it"] if ready and code == 1 and "interrupted" not in words else []
    problems += [f"left: {', '.join(left)}"] if left else []
    done = printed.read_text(encoding="utf-8", errors="replace")
    problems += CHECKS.get(name, _check_files)(out, done + words, code)
    return Ending(kind, after_s, code, ready, tuple(problems))


def moments(seed: str, times: int, duration: float) -> list[tuple[str, float]]:
    """Draw kinds of signals and moments within a command's time."""
    drawn = random.Random(seed)  # noqa: S311 - nothing secret
    kinds = list(SIGNALS)
    return [(kinds[number % len(kinds)], drawn.uniform(0.0, duration)) for number in range(times)]


def _check_files(out: Path, words: str, code: int) -> list[str]:
    """Every file is whole, and where the command ended well there is one."""
    del words
    problems = []
    files = [path for path in out.rglob("*") if path.is_file()]
    if code == 0 and not files:
        problems.append("ended well, and wrote nothing")
    for path in files:
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".png" and cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is None:
                problems.append(f"{path.name} cannot be read")
            elif path.suffix == ".mp4" and not cv2.VideoCapture(str(path)).read()[0]:
                problems.append(f"{path.name} plays nothing")
            elif path.name == "manifest.json":
                verify_bundle(path.parent)
        except Exception as error:  # noqa: BLE001 - whatever a file that is not whole raises
            problems.append(f"{path.name}: {error}")
    return problems


def _check_training(out: Path, words: str, code: int) -> list[str]:
    """The checkpoint where it ended well; the state, of the step that is named, from the first step on."""
    import torch

    from danet_train.checkpoint import read_checkpoint

    problems = _check_files(out, words, code)
    state, checkpoint = out / "c.state.pt", out / "c.pt"
    if checkpoint.exists():
        read_checkpoint(checkpoint)
        return problems
    if code == 0:
        problems.append("ended well without a checkpoint")
    begun = "step 10 of 100" in words
    if state.exists():
        step = torch.load(state, weights_only=True)["step"]
        if f"interrupted after step {step} of 100" not in words:
            problems.append(f"the state is of step {step}, and another is named")
    elif begun:
        problems.append("steps were lost")
    return problems


def _check_scenes(out: Path, words: str, code: int) -> list[str]:
    """All scenes, or no folder."""
    problems = _check_files(out, words, code)
    if (out / "scenes").exists() and len(list(out.glob("scenes/leftImg8bit/train/*/*.png"))) != 60:
        problems.append("scenes are missing")
    return problems


CHECKS: Final[dict[str, Callable[[Path, str, int], list[str]]]] = {
    "train": _check_training,
    "synthesize": _check_scenes,
}
"""The checks beyond each file by itself."""


def _command(line: str, inputs: Path, out: Path) -> list[str]:
    return [*DANET, *line.replace("{in}", str(inputs)).replace("{out}", str(out)).split()]


def _handles(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def _group_lives(group: int) -> bool:
    """Whether a process of a group is still there, a moment after its leader has ended."""
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    return True


@dataclass
class Tally:
    """The attempts at one command."""

    duration: float
    endings: list[Ending] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        codes = Counter(one.code for one in self.endings if one.ready)
        return {
            "duration_s": round(self.duration, 2),
            "times": len(self.endings),
            "done": codes[0],
            "interrupted": codes[1],
            "before_danet_ran": sum(not one.ready for one in self.endings),
            "problems": [
                f"{one.kind} after {one.after_s:.2f} s, exit code {one.code}: {'; '.join(one.problems)}"
                for one in self.endings
                if one.problems
            ],
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the attempts, print a table, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50, help="attempts a command")
    parser.add_argument("--only", nargs="*", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--seed", default="0")
    parser.add_argument("--output", type=Path, default=results_file("group_signals"))
    asked = parser.parse_args(arguments)
    for ignored in (signal.SIGINT, signal.SIGHUP):  # by a shell's background, which hands that on
        if signal.getsignal(ignored) == signal.SIG_IGN:
            signal.signal(ignored, signal.SIG_DFL)
    console = Console()
    tallies: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        inputs = Path(place) / "inputs"
        inputs.mkdir()
        prepare(inputs)
        for name in asked.only:
            tally = Tally(duration_s(name, inputs, Path(place) / f"{name}-whole"))
            for number, (kind, after_s) in enumerate(
                moments(f"{asked.seed} {name}", asked.times, tally.duration)
            ):
                out = Path(place) / f"{name}-{number}"
                tally.endings.append(attempt(name, inputs, out, kind, after_s))
                for problem in tally.endings[-1].problems:
                    console.print(f"{name}, {kind} after {after_s:.2f} s: {problem}", markup=False)
            tallies[name] = tally.to_dict()
            console.print(name, tallies[name], markup=False)
            asked.output.write_text(
                json.dumps({"machine": describe_machine(), "commands": tallies}, indent=2) + "\n",
                encoding="utf-8",
            )
    table = Table("command", "times", "done", "interrupted", "before danet ran", "problems")
    for name, row in tallies.items():
        counts = (row["times"], row["done"], row["interrupted"], row["before_danet_ran"])
        table.add_row(name, *map(str, counts), str(len(row["problems"])))
    console.print(table)
    if any(row["problems"] for row in tallies.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
