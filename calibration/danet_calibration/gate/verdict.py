"""The verdict: the candidates, the gate's decision on each, and the search's attempts, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from danet_calibration.gate.gate import Evidence, Judgement
from danet_calibration.gate.rules import GateRules, Guard
from danet_calibration.int8.sensitivity import Sensitivity
from danet_calibration.measure.accuracy import Agreement
from danet_calibration.measure.overlap import Overlap
from danet_runtime.bundle import Accuracy

COMPUTED_IN: Final = {
    "INT8 everywhere": "FP32 of INT8 values",
    "mixed": "FP32 of INT8 values",
    "FP16": "FP32 of FP16 weights",
    "FP32": "FP32",
    "reference FP32": "FP32",
}
"""ONNX Runtime on a CPU computes whatever a file holds in FP32: what FP16's own range and rounding do to the
activations is not in these figures, but in the report ``fp16_range``."""


@dataclass(frozen=True)
class Candidate:
    """One candidate of the mixed-precision search: one way to run the model.

    Attributes:
        name: ``INT8 everywhere``, ``mixed``, ``FP16``, ``FP32``, or ``reference FP32`` of another bundle.
        bytes: Size of the model file.
        int8_share: Share of convolution MACs on INT8, 0..1.
        floating: Layers in FP16 by the gate's decision.
        accuracy: Accuracy measured through this very file; None without labelled frames.
        judgement: Comparison with FP32; None without labelled frames.
        failures: The limits that the candidate misses, as sentences.
        agrees: Whether, without labelled frames, enough pixels kept FP32's label.
        golden: Share of the golden frame's labels, 0..1; None where it was not measured.
        golden_asked: Least share of them that the candidate must give.
    """

    name: Literal["INT8 everywhere", "mixed", "FP16", "FP32", "reference FP32"]
    bytes: int
    int8_share: float
    floating: tuple[str, ...] = ()
    accuracy: Accuracy | None = None
    judgement: Judgement | None = None
    failures: tuple[str, ...] = ()
    agrees: bool = False
    golden: float | None = None
    golden_asked: float | None = None

    @property
    def gate(self) -> str:
        """``passed``, ``failed``, ``agreement only`` or ``not measured``."""
        if self.failures:
            return "failed"
        if self.judgement:
            return "passed"
        return "agreement only" if self.agrees else "not measured"

    def to_json(self) -> dict[str, Any]:
        """Return the candidate for the report; sizes in bytes and MiB, drops in percentage points."""
        judged = self.judgement
        return {
            "name": self.name,
            "bytes": self.bytes,
            "mib": round(self.bytes / 2**20, 3),
            "conv_mac_share_int8": self.int8_share,
            "layers_in_fp16": list(self.floating),
            "computed_in": COMPUTED_IN[self.name],
            **(judged.to_json() if judged else dict.fromkeys(JUDGED)),
            "golden_agreement": self.golden,
            "golden_agreement_asked": self.golden_asked,
            "class_iou": self.accuracy.iou if self.accuracy else None,
            "gate": self.gate,
            "failures": list(self.failures),
        }


JUDGED: Final = (
    "miou",
    "miou_drop_points",
    "miou_drop_interval",
    "miou_drop_leaves_out",
    "class_drop_points",
    "class_drop_intervals",
    "near_the_limit",
)
"""Keys of a candidate that take labelled frames."""

Gate = Literal["passed", "failed", "agreement only", "not measured"]


@dataclass(frozen=True)
class Verdict:
    """Measurements and decision of the gate.

    Attributes:
        gate: ``passed`` and ``failed`` by labelled frames, or ``failed`` by what is asked without them;
            ``agreement only`` where there were none; ``not measured`` where they say too little.
        reason: Reason of the decision, as a sentence.
        rules: The limits.
        guard: The guarded classes.
        labelled: Name of the labelled frames.
        candidates: The candidates from INT8 everywhere to FP32; empty where nothing was measured.
        evidence: Labelled pixels and frames of each guarded class.
        overlap: Labelled frames that calibration saw.
        agreement: Agreement with FP32, where it decided.
        ranking: Each layer's effect alone, the worst first; empty where INT8 everywhere passed.
        sensitivity_frames: Names of the frames that ``ranking`` was measured on.
        attempts: Each mixed file that was tried, in order.
    """

    gate: Gate
    reason: str
    rules: GateRules
    guard: Guard
    labelled: str | None
    candidates: tuple[Candidate, ...] = ()
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    overlap: Overlap = field(default_factory=Overlap)
    agreement: Agreement | None = None
    ranking: tuple[Sensitivity, ...] = ()
    sensitivity_frames: tuple[str, ...] = ()
    attempts: tuple[Candidate, ...] = ()

    @property
    def measured(self) -> tuple[str, ...]:
        """Guarded classes of which the labelled frames hold enough."""
        return tuple(name for name, held in self.evidence.items() if held.is_enough)

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Guarded classes of which the labelled frames hold too little."""
        return tuple(name for name in self.guard.classes if name not in self.measured)

    def to_json(self) -> dict[str, Any]:
        """Return the content of the verdict's file, and of the report's part on the gate.

        The candidates stand under the key ``ladder``, as in every report written so far.
        """
        return {
            "gate": self.gate,
            "reason": self.reason,
            "rules": self.rules.to_json(self.guard),
            "labelled": self.labelled,
            "measured": list(self.measured),
            "not_measured": list(self.unmeasured),
            "evidence": {name: held.to_json() for name, held in self.evidence.items()},
            "overlap": self.overlap.to_json(),
            "agreement": self.agreement.to_json() if self.agreement else None,
            "ladder": [candidate.to_json() for candidate in self.candidates],
            "sensitivity": [item.to_json() for item in self.ranking],
            "sensitivity_frames": list(self.sensitivity_frames),
            "attempts": [
                {
                    "layers_in_fp16": list(candidate.floating),
                    "conv_mac_share_int8": candidate.int8_share,
                    "miou_drop_points": candidate.judgement.miou_drop if candidate.judgement else None,
                    "failures": list(candidate.failures),
                }
                for candidate in self.attempts
            ],
        }
