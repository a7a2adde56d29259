"""Counts of the guarded classes in the labelled frames, made before anything long begins."""

from __future__ import annotations

import numpy as np

from danet_calibration.gate.gate import Evidence, find_evidence
from danet_calibration.gate.rules import GateRules, Guard
from danet_calibration.measure.accuracy import LabelledSet, Progress
from danet_train.data.samples.sample import read_label


def label_evidence(
    labelled: LabelledSet, rules: GateRules, guard: Guard, progress: Progress | None = None
) -> dict[str, Evidence]:
    """Count the labels of each guarded class.

    Args:
        labelled: The gate's frames.
        rules: The least pixels and frames of a class.
        guard: The guarded classes.
        progress: Called after each frame with the number done and the number of all.

    Raises:
        DataError: A label image cannot be read.
    """
    dataset = labelled.dataset
    names = dataset.classes.names
    pixels, frames = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    for done, pair in enumerate(dataset.pairs):
        labels = dataset.classes.decode(read_label(pair.label), str(pair.label))
        counts = np.bincount(labels.ravel(), minlength=256)[: len(names)]
        pixels += counts
        frames += counts > 0
        if progress:
            progress(done + 1, len(dataset))
    return find_evidence(
        rules,
        guard,
        dict(zip(names, pixels.tolist(), strict=True)),
        dict(zip(names, frames.tolist(), strict=True)),
    )
