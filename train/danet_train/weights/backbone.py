"""The backbone's weights to start a training from: an ImageNet ResNet, or the backbone of a whole DANet."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from danet_train.errors import CheckpointError
from danet_train.model.architecture import accounted
from danet_train.model.backbones.resnet_network import ResNetV1c
from danet_train.pretrained.registry import pretrained_name
from danet_train.pretrained.weights import read_pretrained
from danet_train.weights.counters import NO_COUNTERS, has_counters, with_counters
from danet_train.weights.families import Family, recognise
from danet_train.weights.names import Naming, torchvision_naming
from danet_train.weights.reading.storage import read_stored

_log = logging.getLogger(__name__)

_OWN_PREFIX = {Family.BACKBONE: "", Family.MMSEG: "backbone.", Family.AUTHORS: "pretrained."}
_HEADS = {
    Family.BACKBONE: (),
    Family.MMSEG: ("decode_head.", "auxiliary_head.", "head."),
    Family.AUTHORS: ("head.",),
}


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Put the weights of ``path`` into ``backbone``, in place; the classifier and any head are left out.

    ``path`` holds a ResNet alone, by torchvision's names (also with a deep stem ``conv1.0`` and on) or
    mmsegmentation's (``stem.0`` and on), or a whole DANet of mmsegmentation, the authors or this project. For
    a backbone that is no ResNet it holds its state dict, or that of a DANet of this project over it.
    ``pretrained:NAME`` is a network that ships with the package.

    Raises:
        NoCheckpointError: There is no such file.
        CheckpointError: The file is damaged, or its backbone is another, or of another depth or width.
    """
    name = pretrained_name(path)
    stored = read_stored(path) if name is None else read_pretrained(name)
    for note in stored.notes:
        _log.info("%s: %s", path, note)
    try:
        (_load_resnet if isinstance(backbone, ResNetV1c) else _load_own)(backbone, stored.state)
    except CheckpointError as error:
        raise CheckpointError(f"{path} does not fit the backbone: {error}") from error


def _load_own(backbone: nn.Module, stored: Mapping[str, Tensor]) -> None:
    own = _OWN_PREFIX[Family.MMSEG]
    within = {name.removeprefix(own): tensor for name, tensor in stored.items() if name.startswith(own)}
    what = "the backbone that 'model:' describes"
    backbone.load_state_dict(accounted(within or stored, backbone.state_dict(), what), strict=True)


def _load_resnet(backbone: nn.Module, stored: Mapping[str, Tensor]) -> None:
    family = recognise(stored)
    own = _OWN_PREFIX[family]
    left_out = [name for name in stored if name.startswith((f"{own}fc.", *_HEADS[family]))]
    state = {name: tensor for name, tensor in stored.items() if name not in left_out}
    naming = _naming(state, own)
    state = naming.translate(state)
    if not has_counters(state):
        state = with_counters(state)
        _log.info(NO_COUNTERS)
    expected = backbone.state_dict()
    _check_stem(expected, state)
    loaded = accounted(state, expected, "the backbone that 'model:' describes", naming.from_mmseg)
    backbone.load_state_dict(loaded, strict=True)
    if left_out:
        _log.info("left out %d tensors of %s: %s, ...", len(left_out), family.value, left_out[0])


def _naming(state: Mapping[str, Tensor], own: str) -> Naming:
    """Return the naming to the backbone's own names; every family that has ``stem.`` names it so."""
    pairs = torchvision_naming(state, own=own).pairs
    return Naming((*pairs, (f"{own}stem.", "stem."))) if f"{own}stem.0.weight" in state else Naming(pairs)


def _check_stem(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Report the commonest mistake in the configuration's terms, before names are compared."""
    stems = []
    for tensors in (expected, state):
        deep = "stem.6.weight" in tensors
        last = tensors.get("stem.6.weight" if deep else "conv1.weight")
        if last is None or last.ndim != 4:
            return
        stems.append(("deep" if deep else "plain", int(last.shape[0])))
    (wanted, wanted_width), (came, came_width) = stems
    if stems[0] != stems[1]:
        raise CheckpointError(
            f"the configuration has a {wanted} stem of {wanted_width} channels, the file a {came} one of "
            f"{came_width}; set model.stem: {came} and model.stem_channels: {came_width}, or give other "
            "weights"
        )
