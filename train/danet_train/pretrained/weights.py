"""The weights of a pretrained network: packed as safetensors with weights in FP16, and read back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from danet_train.errors import CheckpointError, UsageError
from danet_train.files.limited import read_limited
from danet_train.pretrained.record import read_record
from danet_train.pretrained.registry import find_pretrained
from danet_train.weights.reading.storage import StoredWeights

MOST_BYTES: Final = 8_000_000
"""Size of a file of weights at most: the wheel is installed on every machine that trains or exports."""


def pack(state: Mapping[str, Tensor]) -> bytes:
    """Return ``state`` as a file of safetensors; the same tensors give the same bytes.

    Weights of two axes and more, which are all but some thousandths of the values, are rounded to FP16.
    Biases and the parameters and statistics of batch norm stay FP32: in FP16 a small variance becomes zero.

    Raises:
        UsageError: A weight is beyond FP16's range, or the file would be larger than ``MOST_BYTES``.
    """
    packed = {name: _rounded(name, tensor.detach().cpu()) for name, tensor in state.items()}
    data = safetensors.torch.save(packed)
    if len(data) > MOST_BYTES:
        raise UsageError(
            f"the weights take {len(data)} bytes, a pretrained network at most {MOST_BYTES}; ship a smaller "
            "one"
        )
    return data


def read_pretrained(name: str, folder: Path | None = None) -> StoredWeights:
    """Read the network ``name``: its hash is verified before anything of the file is parsed.

    Args:
        name: Name of the network.
        folder: Folder of the networks; None for the package's own.

    Returns:
        Tensors as stored, most of them FP16, and the content that a checkpoint of this project has beside
        them. ``metadata`` holds ``pretrained``, the name, and ``size_hw``, ``miou``, ``step`` and ``seed``.

    Raises:
        NoCheckpointError: There is no such network; the message lists those that are there.
        CheckpointError: The file is damaged, or not the one of its record.
    """
    record = read_record(name, folder)
    path, _ = find_pretrained(name, folder)
    try:
        data = read_limited(path, MOST_BYTES)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); install danet-train again") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != record.sha256:
        raise CheckpointError(
            f"{path} is not the file of its record: expected SHA-256 {record.sha256}, got {sha256} "
            f"({len(data)} bytes); install danet-train again"
        )
    try:
        state = safetensors.torch.load(data)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no file of safetensors ({error}); install danet-train again"
        ) from error
    held = record.model_dump(mode="json", include={"config", "classes", "normalisation"})
    metadata: dict[str, Any] = {
        "pretrained": record.name,
        "size_hw": list(record.size_hw),
        "miou": record.scores.miou,
        "step": record.training.steps,
        "seed": record.training.seed,
    }
    return StoredWeights({**held, "metadata": metadata}, state, sha256)


def _rounded(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point() or tensor.ndim < 2:
        return tensor.contiguous()
    rounded = tensor.to(torch.float16).contiguous()
    if not torch.isfinite(rounded).all():
        raise UsageError(
            f"{name} holds weights up to {float(tensor.abs().max()):g}, FP16 at most 65504; train with "
            "weight decay"
        )
    return rounded
