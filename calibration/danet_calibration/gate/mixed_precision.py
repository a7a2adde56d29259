"""Mixed-precision search: INT8 everywhere, or the fewest layers in FP16 with which the gate holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from danet_calibration.errors import GateError
from danet_calibration.gate.gate import (
    Evidence,
    Judgement,
    find_evidence,
    find_guard,
    judge,
    why_not_measured,
)
from danet_calibration.gate.label_evidence import label_evidence
from danet_calibration.gate.rules import GateRules
from danet_calibration.gate.search import fewest, give_back, within
from danet_calibration.gate.verdict import Candidate, Gate, Verdict
from danet_calibration.int8.drafts import Draft, Drafts
from danet_calibration.int8.layers import Layer
from danet_calibration.int8.sensitivity import Sensitivity, measure_sensitivity, sensitivity_samples
from danet_calibration.measure.accuracy import (
    Agreement,
    LabelledSet,
    Measurement,
    Step,
    measure_accuracy,
    measure_golden,
)
from danet_calibration.measure.overlap import Overlap
from danet_runtime.bundle import Accuracy, Bundle, Precision


@dataclass(frozen=True, eq=False)
class Trial:
    """One draft of the INT8 file, measured through its file.

    Attributes:
        draft: The draft.
        golden: Share of the golden frame's labels that the draft gives, 0..1.
        accuracy: Accuracy on the labelled frames; None without them.
        judgement: Comparison with FP32; None without labelled frames.
        failures: The limits that the draft misses, as sentences.
    """

    draft: Draft
    golden: float
    accuracy: Accuracy | None = None
    judgement: Judgement | None = None
    failures: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the draft meets every limit."""
        return not self.failures


@dataclass(frozen=True, eq=False)
class Outcome:
    """Result of the gate: the INT8 file that goes into the bundle, and why.

    Attributes:
        trial: The INT8 file that was chosen; it is the one that is written.
        accuracies: Accuracy of every variant; empty without labelled frames.
        verdict: The decision and its reason.
    """

    trial: Trial
    accuracies: dict[Precision, Accuracy]
    verdict: Verdict


@dataclass(frozen=True)
class LabelledGate:
    """Inputs of a gate by labelled frames.

    Attributes:
        labelled: The frames with labels.
        rules: The limits.
        reference: Bundle whose FP32 file INT8 is compared with, instead of the calibrated bundle's own: the
            training for INT8 may have made a model's own FP32 worse.
        overlap: Labelled frames that calibration saw, for the verdict.
    """

    labelled: LabelledSet
    rules: GateRules
    reference: Bundle | None = None
    overlap: Overlap = field(default_factory=Overlap)


def gate_by_agreement(everywhere: Draft, rules: GateRules, agreement: Agreement) -> Outcome:
    """Decide without labelled frames, by agreement with FP32.

    INT8 must give FP32's label to enough pixels, and enough of the golden frame's labels.

    Raises:
        GateError: INT8 does not; the error carries the verdict.
    """
    bundle = everywhere.bundle
    trial = _try_golden(everywhere)
    failures = trial.failures
    if agreement.share < rules.min_agreement:
        failures += (
            f"INT8 and FP32 give the same label to {agreement.share:.2%} of the pixels of "
            f"{agreement.frames} of {agreement.origin}; expected {rules.min_agreement:.1%} or more "
            "(--min-agreement)",
        )
    trial = replace(trial, failures=failures)
    candidate = replace(_int8_candidate("INT8 everywhere", trial), agrees=not failures)
    reason = "; ".join(failures) or (
        f"INT8 gives FP32's label to {agreement.share:.2%} of the pixels of {agreement.frames} of "
        f"{agreement.origin}; {rules.min_agreement:.1%} is asked. No labelled frames (--labelled): the "
        "accuracy is not measured"
    )
    verdict = Verdict(
        "failed" if failures else "agreement only",
        reason,
        rules,
        find_guard(rules, [entry.name for entry in bundle.manifest.classes]),
        None,
        (candidate, _float_candidate(bundle, "fp16"), _float_candidate(bundle, "fp32")),
        agreement=agreement,
    )
    if failures:
        raise GateError(
            f"{reason}. Calibrate on more frames of the camera, with another --method, or give labelled "
            "frames (--labelled): the gate then finds the layers that need FP16",
            verdict.to_json(),
        )
    return Outcome(trial, {}, verdict)


def require_evidence(bundle: Bundle, labelled: LabelledSet, rules: GateRules, step: Step) -> None:
    """Refuse labelled frames that cannot decide, before anything long begins.

    Raises:
        GateError: They show too little of the guarded classes; the error carries the verdict, ``not
            measured``.
    """
    guard = find_guard(rules, [entry.name for entry in bundle.manifest.classes])
    evidence = label_evidence(labelled, rules, guard, lambda done, of: step("look at the labels", done, of))
    reason = why_not_measured(rules, evidence)
    if reason is not None:
        verdict = Verdict("not measured", reason, rules, guard, labelled.name, evidence=evidence)
        raise GateError(f"the gate cannot be measured: {reason}", verdict.to_json())


def run_gate(source: Bundle, drafts: Drafts, everywhere: Draft, asked: LabelledGate, step: Step) -> Outcome:
    """Search for the INT8 file that meets the gate on labelled frames, with the fewest layers in FP16.

    Args:
        source: The bundle that is calibrated.
        drafts: Writes the INT8 files to measure.
        everywhere: The draft with no layer moved back, the last that was written.
        asked: The labelled frames, the limits and the reference.
        step: Called with the name of a step, the parts done and the number of parts.

    Raises:
        GateError: The gate cannot hold; the error carries the verdict.
    """
    search = _Search(source, drafts, asked, step)
    first = search.begin(everywhere)
    if first.holds:
        return search.outcome(first, "INT8 everywhere holds it")
    search.require_fp16()
    ranked = search.rank()
    allowed = search.allowed(ranked)
    found = fewest(allowed, search.holds)
    if found is None:
        raise search.failed(search.why_not(allowed, ranked))
    kept = give_back(found, search.holds)
    reason = f"INT8 everywhere misses it; with {len(kept)} of {len(ranked)} layers in FP16 it holds"
    return search.outcome(search.restore(kept), reason)


class _Search:
    """State of one search: the measurements made so far."""

    def __init__(self, source: Bundle, drafts: Drafts, asked: LabelledGate, step: Step) -> None:
        self._source = source
        self._reference = asked.reference
        self._reference_measured: Measurement | None = None
        self._overlap = asked.overlap
        self._drafts = drafts
        self._labelled = asked.labelled
        self._rules = asked.rules
        self._step = step
        self._guard = find_guard(asked.rules, [entry.name for entry in source.manifest.classes])
        self._floating: dict[Precision, Measurement] = {}
        self._tried: dict[frozenset[Layer], Trial] = {}  # in the order in which they were tried
        self._ranking: list[Sensitivity] = []
        self._frames: tuple[str, ...] = ()

    def begin(self, everywhere: Draft) -> Trial:
        """Measure the reference, FP32, FP16 and INT8 everywhere."""
        if self._reference is not None:
            self._reference_measured = self._measure(self._reference, "fp32", "measure the reference")
        for precision in ("fp32", "fp16"):
            self._floating[precision] = self._measure(self._source, precision, f"measure {precision}")
        self._tried[frozenset()] = self._try(everywhere, "measure int8")
        return self._tried[frozenset()]

    def require_fp16(self) -> None:
        """Refuse where FP16 misses the gate itself: moving layers there cannot help.

        Raises:
            GateError: FP16 misses the gate.
        """
        failures = self._judge(self._floating["fp16"]).failures
        if failures:
            raise self.failed(
                f"no layer in FP16 can mend it, for FP16 misses the gate itself ({'; '.join(failures)}); "
                "train or export the model again"
            )

    def rank(self) -> list[Layer]:
        """Return every layer, the one with the worst effect alone first."""
        samples = sensitivity_samples(self._labelled.dataset)
        self._frames = samples.names
        self._ranking = measure_sensitivity(
            self._source.read(self._source.variant("fp32").file),
            self._source.read(self._source.variant("fp16").file),
            self._drafts.layers,
            [sample.image for sample in samples],
            lambda layer, done, of: self._step(f"sensitivity of {layer}", done, of),
            self._source.manifest.frame.pixels,
        )
        return [item.layer for item in self._ranking]

    def allowed(self, ranked: Sequence[Layer]) -> list[Layer]:
        """Return the layers that may go back to FP16 together, the worst first.

        The least share of MACs must stay on INT8. A layer too large for that is passed over; those behind it
        may be enough.
        """
        return within(ranked, self._drafts.share_without, self._rules.min_int8_share)

    def holds(self, floating: Sequence[Layer]) -> bool:
        """Whether the gate holds with these layers in FP16; measured once."""
        key = frozenset(floating)
        if key not in self._tried:
            draft = self._drafts.write(floating)
            self._tried[key] = self._try(draft, f"measure int8 with {len(floating)} layers in fp16")
        return self._tried[key].holds

    def restore(self, floating: Sequence[Layer]) -> Trial:
        """Return the trial of these layers, and write its file again: a later trial may have replaced it."""
        self._drafts.write(floating)
        return self._tried[frozenset(floating)]

    def why_not(self, allowed: Sequence[Layer], ranked: Sequence[Layer]) -> str:
        """Return why no number of layers was enough, as a sentence."""
        share = f"{self._rules.min_int8_share:.0%}"
        least = f"at least {share} of the convolution MACs must stay on INT8 (--min-share)"
        if not allowed:
            return f"no layer may go back to FP16, not even {ranked[0].name}, the most sensitive: {least}"
        failures = self._tried[frozenset(allowed)].failures
        passed_over = [layer.name for layer in ranked if layer not in allowed]
        without = f"; passed over, as too large for that: {', '.join(passed_over[:3])}" if passed_over else ""
        without += ", ..." if len(passed_over) > 3 else ""
        return (
            f"nor does it hold with the {len(allowed)} most sensitive of {len(ranked)} layers in FP16 that "
            f"may go back ({'; '.join(failures)}), and {least}{without}. Calibrate on more frames of the "
            "camera, with another --method, or fine-tune with quantisation"
        )

    def failed(self, reason: str) -> GateError:
        """Return the error for a gate that cannot hold."""
        first = self._tried[frozenset()]
        message = f"INT8 everywhere misses the gate ({'; '.join(first.failures)}); {reason}"
        return GateError(message, self._verdict("failed", message, None).to_json())

    def outcome(self, chosen: Trial, reason: str) -> Outcome:
        """Return the result where the gate holds."""
        accuracies = {precision: held.accuracy for precision, held in self._floating.items()}
        if chosen.accuracy:
            accuracies["int8"] = chosen.accuracy
        return Outcome(chosen, accuracies, self._verdict("passed", reason, chosen))

    def _try(self, draft: Draft, what: str) -> Trial:
        golden = _try_golden(draft)
        measured = self._measure(draft.bundle, "int8", what)
        judgement = self._judge(measured)
        failures = (*judgement.failures, *golden.failures)
        return Trial(draft, golden.golden, measured.accuracy, judgement, failures)

    def _held_to(self) -> Measurement:
        return self._reference_measured or self._floating["fp32"]

    def _judge(self, measured: Measurement) -> Judgement:
        held_to = self._held_to()
        counts = (held_to.counts, measured.counts)
        return judge(self._rules, self._guard, held_to.accuracy, measured.accuracy, counts)

    def _evidence(self) -> Mapping[str, Evidence]:
        held = self._held_to().accuracy
        return find_evidence(self._rules, self._guard, held.labelled_pixels, held.labelled_frames)

    def _measure(self, bundle: Bundle, precision: Precision, what: str) -> Measurement:
        def progress(done: int, of: int) -> None:
            self._step(what, done, of)

        return measure_accuracy(bundle, precision, self._labelled.dataset, self._labelled.name, progress)

    def _verdict(self, gate: Gate, reason: str, chosen: Trial | None) -> Verdict:
        first, *others = self._tried.values()
        candidates = [_int8_candidate("INT8 everywhere", first)]
        if chosen is not None and chosen is not first:
            candidates.append(_int8_candidate("mixed", chosen))
        for precision in ("fp16", "fp32"):
            measured = self._floating[precision]
            candidates.append(
                _float_candidate(self._source, precision, measured.accuracy, self._judge(measured))
            )
        if self._reference is not None and self._reference_measured is not None:
            measured = self._reference_measured
            candidate = _float_candidate(self._reference, "fp32", measured.accuracy, self._judge(measured))
            candidates.append(replace(candidate, name="reference FP32"))
        return Verdict(
            gate,
            reason,
            self._rules,
            self._guard,
            self._labelled.name,
            tuple(candidates),
            self._evidence(),
            self._overlap,
            ranking=tuple(self._ranking),
            sensitivity_frames=self._frames,
            attempts=tuple(_int8_candidate("mixed", trial) for trial in others),
        )


def _try_golden(draft: Draft) -> Trial:
    golden = measure_golden(draft.bundle, "int8")
    failures = () if golden.is_passed else (golden.complaint("ONNX Runtime"),)
    return Trial(draft, golden.share, failures=failures)


def _int8_candidate(name: Literal["INT8 everywhere", "mixed"], trial: Trial) -> Candidate:
    draft = trial.draft
    return Candidate(
        name,
        draft.variant.file.bytes,
        draft.coverage.share,
        tuple(layer.name for layer in draft.floating),
        trial.accuracy,
        trial.judgement,
        trial.failures,
        golden=trial.golden,
        golden_asked=draft.bundle.manifest.golden.agreement["int8"],
    )


def _float_candidate(
    bundle: Bundle,
    precision: Literal["fp16", "fp32"],
    accuracy: Accuracy | None = None,
    judgement: Judgement | None = None,
) -> Candidate:
    return Candidate(
        "FP16" if precision == "fp16" else "FP32",
        bundle.variant(precision).file.bytes,
        0.0,
        (),
        accuracy,
        judgement,
        judgement.failures if judgement else (),
    )
