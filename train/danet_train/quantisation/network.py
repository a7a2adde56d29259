"""A DANet whose tensors are fake-quantised where an INT8 engine quantises them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from danet_train.model.backbones.reads import Reader
from danet_train.model.danet import DANet, freeze_statistics
from danet_train.quantisation.activations import quantised_activations
from danet_train.quantisation.fake_quantisation import ActivationQuantiser, QuantisedConv2d

PERCENTILE = 99.99
"""Default percentile of a frame's magnitudes that the first scales reach; 100 is the largest."""


class QuantisedNetwork:
    """Puts fake quantisation into a model.

    Args:
        model: The network to change: its convolutions are replaced by quantised ones that share their
            parameters. The names in its state dict stay.
        percentile: Percentile of a frame's magnitudes, 0..100, that :meth:`calibrate` makes a scale reach.

    Attributes:
        model: The network; in eval mode it gives the logits of the INT8 file, up to the rounding of FP16.
        quantisers: The quantisers by the names of the activations.
    """

    def __init__(self, model: DANet, *, percentile: float = PERCENTILE) -> None:
        self.model = model
        self.quantisers: dict[str, ActivationQuantiser] = {}
        activations = quantised_activations(model)
        device = next(model.parameters()).device
        for activation in activations:
            quantiser = ActivationQuantiser(activation.name, percentile, device)
            self.quantisers[activation.name] = quantiser
            for reader in activation.readers:
                _insert(model, reader, quantiser)

    @torch.no_grad()
    def calibrate(self, images: Iterable[Tensor]) -> None:
        """Find the scales on images, with the network in eval mode and in floating point.

        Args:
            images: Batches of images, each (B, 3, H, W) float, normalised RGB, on the model's device.

        Raises:
            QuantisationError: There were no images, or an activation is not finite on them.
        """
        self.model.eval()
        for quantiser in self.quantisers.values():
            quantiser.observing = True
        for image in images:
            self.model(image)
        for quantiser in self.quantisers.values():
            quantiser.observing = False
            quantiser.adopt_range()

    def set_scales(self, scales: Mapping[str, float]) -> None:
        """Set all scales, by the names of the activations."""
        for name, quantiser in self.quantisers.items():
            quantiser.scale = scales[name]

    def round_scales(self) -> None:
        """Round every scale to FP16, as the exported file holds it."""
        for quantiser in self.quantisers.values():
            quantiser.scale = float(torch.tensor(quantiser.scale).half())

    def scales(self) -> dict[str, float]:
        """Return the scale of each activation."""
        return {name: quantiser.scale for name, quantiser in self.quantisers.items()}

    def train_with_frozen_statistics(self) -> None:
        """Set train mode, with batch norms that keep and use their running statistics.

        A folded batch norm has no statistics of a batch: the network is trained as it will be exported. Their
        weights and biases are trained.
        """
        self.model.train()
        freeze_statistics(self.model)

    def plain_model(self) -> DANet:
        """Return a copy of the network without quantisation, in eval mode, on the CPU."""
        plain = DANet(self.model.config)
        plain.load_state_dict(self.model.state_dict())
        return plain.eval()


def _insert(model: DANet, reader: Reader, quantiser: ActivationQuantiser) -> None:
    module = model.get_submodule(reader.module)
    downsample = getattr(module, "downsample", None)
    if isinstance(module, nn.Conv2d):
        parent, _, name = reader.module.rpartition(".")
        setattr(model.get_submodule(parent), name, QuantisedConv2d(module, quantiser))
    elif reader.kind == "branch":
        module.register_forward_hook(_on_output(quantiser))
    elif reader.kind == "shortcut" and isinstance(downsample, nn.Module):
        downsample.register_forward_hook(_on_output(quantiser))
    else:
        # A block's own input: its first convolution reads it too, and with the same scale.
        module.register_forward_pre_hook(_on_input(quantiser))


def _on_input(quantiser: ActivationQuantiser) -> Callable[[nn.Module, tuple[Tensor, ...]], Tensor]:
    return lambda _module, inputs: quantiser(inputs[0])


def _on_output(quantiser: ActivationQuantiser) -> Callable[[nn.Module, object, Tensor], Tensor]:
    return lambda _module, _inputs, output: quantiser(output)
