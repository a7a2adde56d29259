"""An engine in the first form of its attention that can be built and gives the golden frame's labels.

Which forms there are, and in which order, stands in :mod:`danet_runtime.tensorrt.plugins.lowering`. None of
this has run on a GPU: that a form fails at all is what the documentation leaves open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from danet_runtime.errors import BackendError, FaultError
from danet_runtime.tensorrt.build.layers import NoInt8Error
from danet_runtime.tensorrt.engine_build import BuildPlan, EngineBuild
from danet_runtime.tensorrt.engine_obtain import Obtained
from danet_runtime.tensorrt.plugins.lowering import Lowering
from danet_runtime.tensorrt.store.store import StoredEngine


def obtain_first(
    plan: BuildPlan,
    obtain: Callable[[EngineBuild], Obtained],
    stored: Callable[[EngineBuild], StoredEngine | None] | None,
    note: Callable[[str], None],
) -> tuple[EngineBuild, Obtained]:
    """Give the engine of the first form that serves.

    An engine that is stored because the forms before it failed is taken without trying those again.

    Args:
        plan: The forms.
        obtain: Builds one, tries and stores it, or gives the one that is stored.
        stored: Returns the stored engine that runs here; ``None``: build anew whatever is stored.
        note: Called with a sentence for each form that fails or cannot be tried.

    Returns:
        The form, and its engine.

    Raises:
        BackendError: None of several forms serves; the message holds each reason, and what to report. Of a
            single form its own error.
        FaultError: The GPU was lost; the message holds the form to try next, in another process.
    """
    steps = plan.lowerings.steps
    if stored is not None and (found := _built_after_failures(plan, stored)) is not None:
        return found, obtain(found)
    failures = list(plan.lowerings.passed_over)
    for why in failures:
        note(f"{why}; not tried")
    for number, lowering in enumerate(steps):
        planned = replace(plan.make(lowering), passed_over=tuple(failures))
        following = steps[number + 1] if number + 1 < len(steps) else None
        try:
            return planned, obtain(planned)
        except FaultError as error:
            raise _lost(error, lowering, following) from error
        except NoInt8Error:
            raise  # no form of the attention changes that
        except BackendError as error:
            if len(steps) == 1:
                raise
            failures.append(f"{lowering.title}: {error}")
            if following is not None:
                note(f"{lowering.title} failed: {error}. Trying {following.title}")
    raise BackendError(
        f"no form of the attention serves: {'; '.join(failures)}. `--attention reference` builds the plain "
        f"one, for comparison: {plan.reference}. Please report this, with what is written here: "
        f"{plan.machine}"
    )


def _built_after_failures(
    plan: BuildPlan, stored: Callable[[EngineBuild], StoredEngine | None]
) -> EngineBuild | None:
    for number, lowering in enumerate(plan.lowerings.steps):
        if number == 0 and len(plan.lowerings.steps) == 1:
            return None
        planned = plan.make(lowering)
        engine = stored(planned)
        if engine is not None and (number == 0 or engine.manifest.passed_over):
            return planned
    return None


def _lost(error: FaultError, tried: Lowering, following: Lowering | None) -> FaultError:
    if following is None:
        return error
    return FaultError(
        f"{error}. It was lost by {tried.title}; try {following.title} with "
        f"`danet build ... {following.option}`"
    )
