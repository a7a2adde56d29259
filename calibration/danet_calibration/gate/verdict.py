"""The verdict: the ladder of precisions, what the gate says of each, and what was tried, ready for JSON."""

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
class Rung:
    """One way to run the model.

    Attributes:
        name: ``INT8 everywhere``, ``mixed``, ``FP16``, ``FP32``, or ``reference FP32`` of another bundle.
        bytes: Of the model file.
        int8_share: Share of convolution MACs on INT8, 0..1.
        floating: Layers in FP16 by the gate's decision.
        accuracy: Through this very file; None without labelled frames.
        judgement: Against FP32; None without labelled frames.
        failures: What the gate misses, in words.
        agrees: Whether, without labelled frames, enough pixels kept FP32's label.
        golden: Share of the golden frame's labels, 0..1; None where it was not measured.
        golden_asked: Which share of them it must give.
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
        """The rung for the report; sizes in bytes and MiB, drops in percentage points."""
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
"""Keys of a rung that take labelled frames."""

Gate = Literal["passed", "failed", "agreement only", "not measured"]


@dataclass(frozen=True)
class Verdict:
    """What the gate found and decided.

    Attributes:
        gate: ``passed`` and ``failed`` by labelled frames, or ``failed`` by what is asked without them;
            ``agreement only`` where there were none; ``not measured`` where they say too little.
        reason: In words.
        rules: That were held.
        guard: The classes that were guarded.
        labelled: Name of the labelled frames.
        ladder: From INT8 everywhere to FP32; empty where nothing was measured.
        evidence: What the labels hold of each guarded class.
        overlap: Labelled frames that calibration saw.
        agreement: With FP32, where it decided.
        ranking: Each layer's effect alone, the worst first; empty where INT8 everywhere passed.
        sensitivity_frames: The frames that it was measured on.
        attempts: Each mixed file that was tried, in order.
    """

    gate: Gate
    reason: str
    rules: GateRules
    guard: Guard
    labelled: str | None
    ladder: tuple[Rung, ...] = ()
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    overlap: Overlap = field(default_factory=Overlap)
    agreement: Agreement | None = None
    ranking: tuple[Sensitivity, ...] = ()
    sensitivity_frames: tuple[str, ...] = ()
    attempts: tuple[Rung, ...] = ()

    @property
    def measured(self) -> tuple[str, ...]:
        """Guarded classes of which the labelled frames hold enough."""
        return tuple(name for name, held in self.evidence.items() if held.is_enough)

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Guarded classes of which they do not."""
        return tuple(name for name in self.guard.classes if name not in self.measured)

    def to_json(self) -> dict[str, Any]:
        """The content of the verdict's file, and of the report's part on the gate."""
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
            "ladder": [rung.to_json() for rung in self.ladder],
            "sensitivity": [item.to_json() for item in self.ranking],
            "sensitivity_frames": list(self.sensitivity_frames),
            "attempts": [
                {
                    "layers_in_fp16": list(rung.floating),
                    "conv_mac_share_int8": rung.int8_share,
                    "miou_drop_points": rung.judgement.miou_drop if rung.judgement else None,
                    "failures": list(rung.failures),
                }
                for rung in self.attempts
            ],
        }
