"""A backend, a source, a sink and a bundle that take fixed times, so that the loop alone is measured."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from danet_runtime import Bundle, StreamOptions
from danet_runtime.clock import now_ns
from danet_runtime.frames.arrays import UInt8Array
from danet_runtime.sources import FrameInfo
from danet_runtime.timing import DeviceTimes

OPTIONS = StreamOptions(golden=False, frozen_after_s=1e6, black_after_s=1e6)


class FixedTime:
    """A backend that takes as long as it is told and gives zeros."""

    name = "fixed-time"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def infer(self, frame: UInt8Array, labels: UInt8Array) -> None:
        end = time.monotonic() + self.seconds
        labels.fill(0)
        time.sleep(max(0.0, end - time.monotonic()))

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "seconds": self.seconds}

    def close(self) -> None:
        pass


class FixedStages(FixedTime):
    """The same with an upload before and a download after, each beside another frame's inference."""

    UPLOAD_S, DOWNLOAD_S = 0.001, 0.0005
    depth = 2

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self._stages = (self.UPLOAD_S, seconds, self.DOWNLOAD_S)
        self._free_at = [0.0, 0.0, 0.0]
        self._flying: dict[int, tuple[float, UInt8Array]] = {}
        self._submitted = 0

    def submit(self, frame: UInt8Array, labels: UInt8Array) -> int:
        done = time.monotonic()
        for stage, seconds in enumerate(self._stages):
            done = self._free_at[stage] = max(done, self._free_at[stage]) + seconds
        self._submitted += 1
        self._flying[self._submitted] = (done, labels)
        return self._submitted

    def collect(self, ticket: int) -> DeviceTimes:
        done, labels = self._flying.pop(ticket)
        labels.fill(0)
        time.sleep(max(0.0, done - time.monotonic()))
        return DeviceTimes(*(1e3 * seconds for seconds in self._stages))


class Ticks:
    """A source with a steady rate that writes one row a frame: the loop is measured, not a decoder."""

    fps: float | None = None

    def __init__(self, size_hw: tuple[int, int], every_s: float, count: int, live: bool) -> None:
        self.size_hw = size_hw
        self.count: int | None = count
        self.live = live
        self._every_s = every_s
        self._next = time.monotonic()
        self._read = 0

    def read_into(self, buffer: UInt8Array) -> FrameInfo | None:
        if self._read == self.count:
            return None
        if self.live:
            self._next = max(self._next + self._every_s, time.monotonic() - self._every_s)
        else:
            self._next = time.monotonic() + self._every_s
        time.sleep(max(0.0, self._next - time.monotonic()))
        buffer[0] = self._read % 256
        self._read += 1
        return FrameInfo(self._read - 1, now_ns())

    def describe(self) -> dict[str, Any]:
        return {"kind": "ticks"}

    def close(self) -> None:
        pass


class Busy:
    """A sink that takes a fixed time."""

    name = "busy"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def open(self, stream_format: object) -> None:
        pass

    def write(self, result: object) -> None:
        time.sleep(self.seconds)

    def describe(self) -> dict[str, Any]:
        return {"kind": self.name}

    def close(self) -> None:
        pass


def bundle_of(size_hw: tuple[int, int], folder: Path) -> Bundle:
    """A bundle whose manifest says that frames have a size; its model is never run."""
    from danet_export.frames import pattern
    from danet_export.graph.geometry import plan_geometry
    from danet_export.pipeline import export_bundle
    from danet_train.checkpoint import read_checkpoint, save_checkpoint
    from danet_train.classes import CITYSCAPES
    from danet_train.config.sections import Normalisation
    from danet_train.model.danet import build_model

    model = build_model(18, base_channels=8, stem_channels=8, head_channels=32, attention_channels=8)
    save_checkpoint(
        folder / "c.pt", model.eval(), classes=CITYSCAPES, normalisation=Normalisation(), metadata={}
    )
    loaded = read_checkpoint(folder / "c.pt")
    export_bundle(
        loaded, CITYSCAPES, plan_geometry((64, 128)), lambda hw: [pattern(hw, 0)], folder / "bundle"
    )
    small = Bundle.open(folder / "bundle")
    frame = small.manifest.frame.model_copy(update={"size_hw": size_hw})
    return Bundle(small.path, small.manifest.model_copy(update={"frame": frame}), small.sha256)
