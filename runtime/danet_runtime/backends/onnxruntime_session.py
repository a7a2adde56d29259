"""The one place that opens a model in ONNX Runtime, so that all figures have the same options."""

from __future__ import annotations

import os
from typing import Any, Final

from danet_runtime.dependencies import ONNXRUNTIME, require

PROVIDERS: Final = ("CPUExecutionProvider",)

NOT_OF_THE_FILE: Final = ("WeightBiasQuantization",)
"""Optimisers that are switched off, since they compute something else than the file says.

``WeightBiasQuantization`` (ONNX Runtime 1.21 and later) replaces the bias of a convolution between Q/DQ by
``round(bias / (input scale * weight scale))`` in INT32. Where the scales are FP16, so is the quotient: beyond
65504 it is infinite and the bias becomes -2^31 steps, wrong by up to 4.9e4. The file adds the bias as it is.

Measured with 1.31 on 8 frames, labels that are those of the graph without any optimiser, of an INT8 file with
FP16 scales: default 98.70 %, without this optimiser 99.992 %, and 100 % below the layout optimisers of level
3, which sum in another order. Switching the other optimisers of quantised graphs off as well
(``QDQSelectorActionTransformer``, ``QDQPropagationTransformer``, ``QDQS8ToU8Transformer``) changes no label:
without an INT32 bias no convolution is fused into ``QLinearConv``. FP16 and FP32 files give 100 % either way.
A version that has no optimiser of such a name ignores the name."""

_LOG_ERRORS_ONLY = 3


def open_session(model: bytes, *, threads: int | None = None, keeps_memory: bool = True) -> Any:  # noqa: ANN401 - the class is imported on first use
    """Open a model on the CPU.

    Args:
        model: The file's content.
        threads: CPU threads of one inference; by default one per physical core.
        keeps_memory: Whether the session keeps the memory of its largest run. Many sessions that are open at
            a time must not.

    Returns:
        An ``onnxruntime.InferenceSession``.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
        Exception: Whatever ONNX Runtime raises for a model that it refuses.
    """
    ort = require(ONNXRUNTIME)
    options = ort.SessionOptions()
    options.log_severity_level = _LOG_ERRORS_ONLY
    # Waiting threads must not spin: decoder and encoder share the cores. Five alternating runs over a
    # 960x540 video on two loaded cores: 28 to 41 frames a second with spinning, 43 to 59 without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Else ONNX Runtime takes its own format wherever the bytes look like it, in which nothing was checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # A bundle's model was checked to name no other file; if it did, it would be looked for where none can be.
    # (From 1.24 on; 1.31 still reads one from the working directory where this is not set.)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    options.enable_cpu_mem_arena = keeps_memory
    if threads is not None:
        options.intra_op_num_threads = threads
    return ort.InferenceSession(
        model, options, providers=list(PROVIDERS), disabled_optimizers=list(NOT_OF_THE_FILE)
    )
