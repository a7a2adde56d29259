"""Files as mmsegmentation's trainers write them, made by the format, without the package.

0.x: ``mmcv.runner.save_checkpoint``; 1.x: ``mmengine.runner.Runner.save_checkpoint``; published: what
``tools/model_converters/publish_model.py`` leaves. The text of a configuration is ``Config.pretty_text``'s.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import torch

from danet_train import read_checkpoint
from danet_train.checkpoint import Checkpoint


def config_text(
    align_corners: object,
    *,
    besides: str = "",
    head: str = "",
    backbone: str = "",
    old: bool = False,
    classes: int = 19,
) -> str:
    """What mmsegmentation notes of its configuration, shortened, with ``dict(...)`` throughout."""
    normalisation = (
        "img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)"
        if old
        else "data_preprocessor = dict(bgr_to_rgb=True, mean=[123.675, 116.28, 103.53], pad_val=0, "
        "seg_pad_val=255, std=[58.395, 57.12, 57.375], type='SegDataPreProcessor')"
    )
    return f"""
norm_cfg = dict(type='SyncBN', requires_grad=True)
{normalisation}
crop_size = (769, 769)
{besides}
model = dict(
    type='EncoderDecoder',
    pretrained='open-mmlab://resnet50_v1c',
    backbone=dict(
        type='ResNetV1c', depth=50, num_stages=4, out_indices=(0, 1, 2, 3), dilations=(1, 1, 2, 4),
        strides=(1, 2, 1, 1), norm_cfg=norm_cfg, norm_eval=False,
        style='pytorch', contract_dilation=True{backbone}),
    decode_head=dict(
        type='DAHead', in_channels=2048, in_index=3, channels=512, pam_channels=64, dropout_ratio=0.1,
        num_classes={classes}, norm_cfg=dict(type='SyncBN', requires_grad=True),
        align_corners={align_corners},
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0){head}),
    auxiliary_head=dict(type='FCNHead', num_classes={classes}, align_corners={align_corners}),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(769, 769), stride=(513, 513)))
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005)
"""


class HistoryBuffer:
    """As mmengine's, whose functions are stored with it."""

    def __init__(self, values: Sequence[float]) -> None:
        self._max_length = 1000000
        self._log_history = np.array(values)
        self._count_history = np.ones(len(values), np.int64)
        self._statistics_methods = {"min": HistoryBuffer.min, "current": HistoryBuffer.current}

    def min(self) -> Any:
        return self._log_history.min()

    def current(self) -> Any:
        return self._log_history[-1]


@contextmanager
def _at(path: str, made: type) -> Iterator[None]:
    """``made`` is found as ``path`` while it is stored, and is gone afterwards, as the package would be."""
    parts = path.split(".")
    names = [".".join(parts[:end]) for end in range(1, len(parts))]
    here = made.__module__
    for name in names:
        sys.modules[name] = ModuleType(name)
    setattr(sys.modules[names[-1]], parts[-1], made)
    made.__module__ = names[-1]
    try:
        yield
    finally:
        made.__module__ = here
        for name in names:
            del sys.modules[name]


def runner_content(
    state: Mapping[str, torch.Tensor], *, names: Sequence[str], palette: Sequence[Sequence[int]], text: str
) -> dict[str, Any]:
    """What a Runner of 1.x stores beside the weights."""
    moment = {index: {"momentum_buffer": torch.zeros(3)} for index in range(2)}
    return {
        "meta": {
            "epoch": 1,
            "iter": 80000,
            "cfg": text,
            "seed": np.int64(304),
            "experiment_name": "danet_20230113",
            "time": "20230113_124500",
            "mmengine_version": "0.10.4",
            "dataset_meta": {"classes": names, "palette": np.array(palette, np.uint8), "label_map": None},
            "hook_msgs": {"best_score": np.float64(0.7934)},
        },
        "state_dict": state,
        "message_hub": {
            "log_scalars": {"train/loss": HistoryBuffer([2.5, 1.25]), "train/lr": HistoryBuffer([0.01])},
            "runtime_info": {"iter": 80000, "max_iters": 80000, "last": np.float32(1.25)},
            "resumed_keys": {"train/loss": True},
        },
        "optimizer": {"state": moment, "param_groups": [{"lr": 0.01, "params": [0, 1]}]},
        "param_schedulers": [{"power": 0.9, "eta_min": 1e-4, "_last_value": [np.float64(1e-4)]}],
    }


def save_runner(path: Path, content: Mapping[str, Any], **how: Any) -> None:
    """Store a Runner's content where mmengine is; it is not where the file is read."""
    with _at("mmengine.logging.history_buffer.HistoryBuffer", HistoryBuffer):
        torch.save(content, path, **how)


def content_of_0x(
    state: Mapping[str, torch.Tensor], *, names: Sequence[str], palette: Sequence[Sequence[int]], text: str
) -> dict[str, Any]:
    """What mmcv's runner stores under mmsegmentation 0.x."""
    meta: dict[str, Any] = {"mmseg_version": "0.11.0+", "config": text, "CLASSES": names, "PALETTE": palette}
    meta |= {"env_info": "sys.platform: linux", "epoch": 81, "iter": 80000, "hook_msgs": {}}
    return {"meta": meta, "state_dict": state, "optimizer": {"state": {}, "param_groups": []}}


def published(content: Mapping[str, Any]) -> dict[str, Any]:
    """As publish_model.py leaves a file."""
    return {key: value for key, value in content.items() if key in ("meta", "state_dict")}


SMALL: Final = {"base_channels": 4, "head_channels": 8, "attention_channels": 4, "aux_channels": 4}
"""Arguments of a network whose files take no time."""

NAMES: Final = ("road", "bed ")
PALETTE: Final = [[128, 64, 128], [204, 5, 255]]
IN_0X: Final[dict[str, Any]] = {"names": list(NAMES), "palette": PALETTE, "text": config_text(True, old=True)}
IN_1X: Final[dict[str, Any]] = {"names": NAMES, "palette": PALETTE, "text": config_text(True)}


def read(path: Path) -> tuple[Checkpoint, str]:
    """What is read of a file, and what is said of it."""
    notes: list[str] = []
    return read_checkpoint(path, say=notes.append), "\n".join(notes)
