"""Drafts of the INT8 file: written into the new bundle, measured there, and written again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from danet_calibration.int8.coverage import Coverage, measure_coverage
from danet_calibration.int8.layers import Layer, find_layers, layer_names
from danet_calibration.int8.placement import quantise
from danet_calibration.int8.ranges.scales import QuantisedInput
from danet_runtime.bundle import Bundle, BundleWriter, FloatingLayer, Quantisation, Variant

INT8_FILE = "model.int8.onnx"


@dataclass(frozen=True, eq=False)
class Draft:
    """One way to quantise the bundle.

    Attributes:
        floating: Layers that stay in FP16 though they could be INT8.
        variant: The manifest's entry for the file.
        coverage: Share of the file that runs on INT8.
        bundle: The new bundle with this file; readable until the next draft is written.
    """

    floating: tuple[Layer, ...]
    variant: Variant
    coverage: Coverage
    bundle: Bundle


class Drafts:
    """Writes drafts of the INT8 file.

    Args:
        source: The bundle that is calibrated.
        writer: Writer of the new bundle; every file of ``source`` is in it already.
        inputs: All quantised inputs where no layer stays in FP16.
        recipe: The manifest's entry; each draft replaces the counts and layers in it.

    Attributes:
        layers: Every layer that is quantised, in the order of the model's nodes.
        total_macs: MACs of all convolutions for one frame.
    """

    def __init__(
        self, source: Bundle, writer: BundleWriter, inputs: Sequence[QuantisedInput], recipe: Quantisation
    ) -> None:
        self._source = source
        self._writer = writer
        self._recipe = recipe
        self._base = source.variant("fp16")
        self._model = source.read(self._base.file)
        floating = onnx.load_from_string(self._model)
        counted = measure_coverage(floating)
        self._names = layer_names(floating)
        self.total_macs = counted.total_macs
        self.layers = find_layers(floating, inputs, counted.macs)

    def write(self, floating: Sequence[Layer] = ()) -> Draft:
        """Write the file with ``floating`` in FP16 and every other layer in INT8."""
        inputs = [item for layer in self.layers if layer not in floating for item in layer.inputs]
        model = quantise(self._model, inputs)
        coverage = measure_coverage(model)
        recipe = {
            "conv_mac_share_int8": coverage.share,
            "quantize_nodes": coverage.quantize_nodes,
            "floating_layers": self._floating_layers(coverage, floating),
        }
        variant = Variant(
            file=self._writer.add(INT8_FILE, model.SerializeToString()),
            opset=self._base.opset,
            quantisation=self._recipe.model_copy(update=recipe),
        )
        manifest = self._source.manifest
        preview = manifest.model_copy(update={"variants": {**manifest.variants, "int8": variant}})
        return Draft(tuple(floating), variant, coverage, self._writer.preview(preview))

    def share_without(self, floating: Sequence[Layer]) -> float:
        """Return the share of convolution MACs on INT8 with ``floating`` in FP16, 0..1; write nothing."""
        return sum(layer.macs for layer in self.layers if layer not in floating) / self.total_macs

    def _floating_layers(self, coverage: Coverage, floating: Sequence[Layer]) -> tuple[FloatingLayer, ...]:
        moved = {layer.node: layer.name for layer in floating}
        kept = [node for node in coverage.float_convolutions if node not in moved]
        return (
            *(FloatingLayer(name=name, node=node, by="gate") for node, name in moved.items()),
            *(FloatingLayer(name=self._names.get(n, n), node=n, by="placement") for n in kept),
        )
