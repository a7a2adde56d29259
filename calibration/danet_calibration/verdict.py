"""The verdict: the ladder of precisions, what the gate says of each, and what was tried, ready for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from danet_calibration.gate import GateRules, Guard, Judgement
from danet_calibration.sensitivity import Sensitivity
from danet_runtime.bundle import Accuracy


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
    """

    name: Literal["INT8 everywhere", "mixed", "FP16", "FP32", "reference FP32"]
    bytes: int
    int8_share: float
    floating: tuple[str, ...] = ()
    accuracy: Accuracy | None = None
    judgement: Judgement | None = None
    failures: tuple[str, ...] = ()

    @property
    def gate(self) -> str:
        """``passed``, ``failed`` or ``not measured``."""
        if self.failures:
            return "failed"
        return "passed" if self.judgement else "not measured"

    def to_json(self) -> dict[str, Any]:
        """The rung for the report; sizes in bytes and MiB, drops in percentage points."""
        judged = self.judgement
        return {
            "name": self.name,
            "bytes": self.bytes,
            "mib": round(self.bytes / 2**20, 3),
            "conv_mac_share_int8": self.int8_share,
            "layers_in_fp16": list(self.floating),
            "miou": judged.miou if judged else None,
            "miou_drop_points": judged.miou_drop if judged else None,
            "class_drop_points": judged.class_drops if judged else None,
            "class_iou": self.accuracy.iou if self.accuracy else None,
            "gate": self.gate,
            "failures": list(self.failures),
        }


@dataclass(frozen=True)
class Verdict:
    """What the gate found and decided.

    Attributes:
        gate: ``not measured`` where there were no labelled frames.
        reason: In words.
        rules: That were held.
        guard: The classes that were guarded.
        labelled: Name of the labelled frames.
        ladder: From INT8 everywhere to FP32.
        ranking: Each layer's effect alone, the worst first; empty where INT8 everywhere passed.
        sensitivity_frames: The frames that it was measured on.
        attempts: Each mixed file that was tried, in order.
    """

    gate: Literal["passed", "failed", "not measured"]
    reason: str
    rules: GateRules
    guard: Guard
    labelled: str | None
    ladder: tuple[Rung, ...]
    ranking: tuple[Sensitivity, ...] = ()
    sensitivity_frames: tuple[str, ...] = ()
    attempts: tuple[Rung, ...] = ()

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Guarded classes of which the labelled frames hold no pixel."""
        judged = next((rung.judgement for rung in self.ladder if rung.judgement), None)
        return judged.unmeasured if judged else ()

    def to_json(self) -> dict[str, Any]:
        """The content of the verdict's file, and of the report's part on the gate."""
        return {
            "gate": self.gate,
            "reason": self.reason,
            "rules": {
                "max_miou_drop_points": self.rules.max_miou_drop,
                "max_class_drop_points": self.rules.max_class_drop,
                "min_conv_mac_share_int8": self.rules.min_int8_share,
                "guarded": list(self.guard.classes),
                "not_in_bundle": list(self.guard.missing),
                "not_in_labels": list(self.unmeasured),
            },
            "labelled": self.labelled,
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
