"""Checks of the watchdog: cameras, inference and clocks, and its messages to systemd."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from danet_runtime.errors import FaultError
from danet_runtime.stream.inference.inference import Inference
from danet_runtime.stream.pipeline.camera_pipeline import CameraPipeline
from danet_runtime.stream.pipeline.frame_checks import StandstillCheck, WallClockCheck
from danet_runtime.stream.state.context import StreamContext
from danet_runtime.stream.state.watch import Watchdog, Worker
from danet_runtime.stream.systemd import SystemdNotifier


class Supervision:
    """Checks the parts of a stream at regular intervals, and gives up those that no longer respond.

    Args:
        pipelines: The cameras.
        inference: Inference of the stream.
        context: Shared state of the stream.
        goes_on: Called before each check; returns whether there is anything left to check.
    """

    def __init__(
        self,
        pipelines: Sequence[CameraPipeline],
        inference: Inference,
        context: StreamContext,
        goes_on: Callable[[], bool],
    ) -> None:
        self._pipelines = pipelines
        self._inference = inference
        self._context = context
        self._goes_on = goes_on
        options = context.options
        self._clock = WallClockCheck(context.health, options.jump_shown_s)
        self._standstill = StandstillCheck(context.health, options.jump_shown_s)
        self._watchdog = Watchdog([self._look], options.watch_every_s)
        self._systemd = SystemdNotifier()
        self._has_notified_ready = False

    @property
    def workers(self) -> list[Worker]:
        """The threads that it looks at."""
        return [
            *self._inference.workers,
            *(worker for pipeline in self._pipelines for worker in pipeline.workers),
        ]

    def is_own(self, thread: threading.Thread) -> bool:
        """Whether it is one of the stream's own threads."""
        own = [worker.thread for worker in self.workers]
        return thread in [*own, self._watchdog.thread, self._context.health.thread]

    def start(self) -> None:
        """Begin to look."""
        self._watchdog.start()

    def stop(self) -> None:
        """End; returns when the last look is over."""
        self._watchdog.stop()

    def tell_end(self) -> None:
        """Tell systemd that the stream has ended."""
        self._systemd.send("STOPPING=1")
        self._systemd.close()

    def give_up(self, reason: str) -> None:
        """End the stream although a thread will not answer any more."""
        context = self._context
        if context.failure is not None and context.health.state == "fault":
            return
        context.health.fault(reason)
        context.fail(FaultError(reason))
        self._inference.abort()
        context.end()

    def _look(self) -> None:
        if not self._goes_on():
            return
        self._standstill.look()
        self._clock.look()
        for pipeline in self._pipelines:
            pipeline.look()
        limit_s = self._inference_limit_s
        if max(worker.busy_s for worker in self._inference.workers) > limit_s:
            self.give_up(
                f"inference has not returned for {limit_s:g} s and was given up; restart the process"
            )
        for dead in self.workers:
            if dead.died:
                self.give_up(f"the thread {dead.name} died; restart the process")
        state = self._context.health.state
        if state == "fault":
            return
        if state != "starting" and not self._has_notified_ready:
            self._has_notified_ready = True
            self._systemd.send("READY=1")
        self._systemd.ping()

    @property
    def _inference_limit_s(self) -> float:
        options = self._context.options
        starting = self._context.health.state == "starting"
        return options.start_timeout_s if starting else options.inference_timeout_s
