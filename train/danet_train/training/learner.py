"""A network with its optimisers, and one training step."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from danet_train.data.batches import Batch
from danet_train.errors import TrainingError
from danet_train.evaluation.upsampling import aligns_corners
from danet_train.model.danet import DANet, TrainingLogits
from danet_train.training.config import TrainConfig
from danet_train.training.distributed import ALONE, World
from danet_train.training.objective.losses import (
    Part,
    divided,
    head_weights,
    loss_parts,
    middle_pixels,
    pixel_count,
    weighted_sum,
)
from danet_train.training.objective.optimiser import Optimisers, clip_gradients

_LEAST_STRIDED_CHANNELS = 8
_REDUCED = {"bf16": torch.bfloat16, "fp16": torch.float16}
OVERFLOWS_IN_A_ROW = 20
"""Number of steps in a row whose loss overflows in ``fp16`` that end the training; fewer are left out."""


class StepResult(NamedTuple):
    """The result of a step, over all processes.

    Attributes:
        loss: The loss before the step; not finite where ``fp16`` overflowed and the step was left out.
        heads: The loss of each classifier by name, without its weight.
        gradient_norm: Norm of the gradients of all parameters, before clipping; not finite where ``fp16``
            overflowed, in the loss or in the gradients alone, and the step was left out.
        skipped: Number of samples that were left out of its batch.
        stop: Whether any process was asked to stop.
    """

    loss: float
    heads: dict[str, float]
    gradient_norm: float
    skipped: int
    stop: bool


class Learner:
    """A network in training.

    Args:
        model: The network, on its device, in the mode to be trained in.
        config: Everything about the run.
        optimisers: The optimisers of its parameters.
        world: The processes that train together.

    Attributes:
        model: The network itself, without what wraps it for training.
        optimisers: The optimisers that were given.
        scaler: Scales the loss for ``fp16``; does nothing at another precision.
    """

    def __init__(
        self, model: DANet, config: TrainConfig, optimisers: Optimisers, world: World = ALONE
    ) -> None:
        self._layout = _layout(model, config)
        model = model.to(memory_format=self._layout)  # type: ignore[call-overload]
        self.model = model
        self.optimisers = optimisers
        self._config = config
        self._world = world
        self._device = next(model.parameters()).device
        self.scaler = torch.amp.GradScaler(self._device.type, enabled=config.precision == "fp16")
        self._overflows = 0
        self._align_corners = aligns_corners(model.config.align_corners, config.augmentation.crop_hw)
        self._network: nn.Module = model
        if config.loop.compile:
            self._network = torch.compile(model)  # type: ignore[assignment]
        if world.size > 1:
            parallel = DistributedDataParallel(
                self._network,
                device_ids=[self._device] if self._device.type == "cuda" else None,
                gradient_as_bucket_view=True,
                find_unused_parameters=0 in head_weights(config.loss).values(),
            )
            # Statistics are synchronised or frozen, so they are equal. (The option of the constructor has
            # another name since torch 2.13.)
            parallel.broadcast_buffers = False
            self._network = parallel

    def step(self, batch: Batch, weights: Tensor | None, *, asked_to_stop: bool = False) -> StepResult:
        """Run one step: forward, backward, clip, step, zero. The learning rate is set by the caller.

        Args:
            batch: The share of this process.
            weights: (C,) weight of each class in the loss, None for 1; on the network's device.
            asked_to_stop: Whether this process was asked to stop.

        Raises:
            TrainingError: The loss is not finite; under ``fp16`` ``OVERFLOWS_IN_A_ROW`` times.
        """
        for optimiser, _ in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        buffers = self._copied_buffers() if self.scaler.is_enabled() else {}
        losses = self._backward(batch, weights)
        values = torch.stack([*losses.values()])
        counted = values.new_tensor([len(batch.skipped), float(asked_to_stop)])
        *means, skipped, stop = self._world.sum(torch.cat([values, counted])).unbind()
        heads = dict(zip(losses, means, strict=True))
        loss = float(weighted_sum(heads, self._config.loss))
        named = {name: float(mean) for name, mean in heads.items()}
        if not math.isfinite(loss):
            self._leave_out(loss, buffers)
            return StepResult(loss, named, math.nan, int(skipped), bool(stop))
        self._overflows = 0
        for optimiser, _ in self.optimisers:
            self.scaler.unscale_(optimiser)
        norm = clip_gradients(self.model.parameters(), self._config.optimiser.clip_norm)
        for optimiser, _ in self.optimisers:
            self.scaler.step(optimiser)
        self.scaler.update()
        return StepResult(loss, named, float(norm), int(skipped), bool(stop))

    def _copied_buffers(self) -> dict[str, Tensor]:
        return {name: buffer.clone() for name, buffer in self.model.named_buffers()}

    def _leave_out(self, loss: float, buffers: dict[str, Tensor]) -> None:
        """Leave out a step whose loss is not finite, where ``fp16`` may be the cause; else raise.

        The overflow went into the running statistics, so they are put back.
        """
        if not self.scaler.is_enabled():
            raise TrainingError(f"the loss is {loss}")
        self._overflows += 1
        if self._overflows >= OVERFLOWS_IN_A_ROW:
            raise TrainingError(f"the loss is {loss} for the {self._overflows}th step in a row")
        for name, buffer in self.model.named_buffers():
            buffer.copy_(buffers[name])
        self.scaler.update(self.scaler.get_scale() * self.scaler.get_backoff_factor())

    def _backward(self, batch: Batch, weights: Tensor | None) -> dict[str, Tensor]:
        """Add up the gradients of the batch; return this process's part of each loss, by classifier."""
        loop, form = self._config.loop, self._config.loss
        label = batch.label.to(self._device)
        known = None
        if loop.accumulate > 1:
            counted = middle_pixels(label, form.label_stride)
            known = self._world.sum(pixel_count(counted, form.mean_over, weights))
        images, labels = batch.image.chunk(loop.accumulate), label.chunk(loop.accumulate)
        sums: dict[str, Tensor] = {}
        for index, (image, part_label) in enumerate(zip(images, labels, strict=True)):
            with self._alone_unless(index == loop.accumulate - 1):
                parts = loss_parts(
                    self._forward(image),
                    part_label,
                    form,
                    align_corners=self._align_corners,
                    weights=weights,
                )
                losses = self._divided(parts, known)
                # DistributedDataParallel takes the mean over the processes, each of which has but its part.
                loss = weighted_sum(losses, form)
                self.scaler.scale(loss * self._world.size if self._world.size > 1 else loss).backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                sums[name] = sums[name] + value.detach() if name in sums else value.detach()
        return sums

    def _forward(self, image: Tensor) -> TrainingLogits:
        image = image.to(self._device, memory_format=self._layout)
        precision = self._config.precision
        reduced = _REDUCED.get(precision, torch.bfloat16)
        with torch.autocast(self._device.type, reduced, enabled=precision in _REDUCED):
            logits: TrainingLogits = self._network(image)
        return logits

    def _divided(self, parts: dict[str, Part], known: Tensor | None) -> dict[str, Tensor]:
        """Divide the parts by the divisor of the whole step: ``known`` beforehand, or summed now."""
        if known is not None:
            return {name: divided(part.total, known) for name, part in parts.items()}
        divisors = self._world.sum(torch.stack([part.divisor for part in parts.values()])).unbind()
        return {
            name: divided(part.total, divisor)
            for (name, part), divisor in zip(parts.items(), divisors, strict=True)
        }

    def _alone_unless(self, last: bool) -> AbstractContextManager[None]:
        """Exchange gradients in the last part of a batch alone, when they are the sum of all parts'."""
        if last or not isinstance(self._network, DistributedDataParallel):
            return nullcontext()
        unsynchronised: AbstractContextManager[None] = self._network.no_sync()
        return unsynchronised

    def state(self) -> dict[str, Any]:
        """Return all that a step changes, as tensors and plain values; not copies."""
        return {
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser, _ in self.optimisers],
            "scaler": self.scaler.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state` gave for a learner of the same configuration."""
        self.model.load_state_dict(state["model"])
        for (optimiser, _), held in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(held)
        self.scaler.load_state_dict(state["scaler"])


def _layout(model: DANet, config: TrainConfig) -> torch.memory_format:
    """Return channels last as configured, but not where convolutions write outside of their memory.

    oneDNN 3.12 (in torch 2.13) does that for AVX2: in the backward pass of a 1x1 convolution with a stride,
    in channels-last order, of fewer than 8 channels. Networks that small are for tests, and gain nothing.
    """
    if not config.loop.channels_last:
        return torch.contiguous_format
    narrow = any(
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and layer.stride != (1, 1)
        and layer.in_channels < _LEAST_STRIDED_CHANNELS
        for layer in model.modules()
    )
    on_cpu = next(model.parameters()).device.type == "cpu"
    return torch.contiguous_format if narrow and on_cpu else torch.channels_last
