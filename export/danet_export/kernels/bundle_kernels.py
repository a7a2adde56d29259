"""The kernels of one bundle: every operator and variant, for its own shapes, as PTX and manifest entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from danet_export.graph.geometry import Geometry
from danet_export.kernels import channel_energy, position_attention, upsample_argmax
from danet_export.kernels.architectures import Architecture, KernelRequest, KernelVariant
from danet_export.kernels.cache import compile_cached
from danet_export.kernels.specification import KernelSpec
from danet_export.ops.attention_ops import energy_slices
from danet_runtime.bundle import BundleWriter, FileRef, Kernel
from danet_train.model.config import DANetConfig

VARIANTS: tuple[KernelVariant, ...] = ("tuned", "small")


@dataclass(frozen=True)
class Problem:
    """The sizes that a network's custom operators work on, at batch 1.

    Attributes:
        tokens: N of both attentions.
        d_qk: Channels of query and key; ``None`` without position attention.
        d_v: Channels of value and residual, and C of the channel attention.
        slices: S of the channel energies; ``None`` without channel attention.
        classes: Of the logits.
        logits_hw: Of the logits that are upsampled.
        size_hw: Of the labels.
        align_corners: Of the upsampling.
    """

    tokens: int
    d_qk: int | None
    d_v: int
    slices: int | None
    classes: int
    logits_hw: tuple[int, int]
    size_hw: tuple[int, int]
    align_corners: bool

    @classmethod
    def of_network(cls, config: DANetConfig, geometry: Geometry) -> Problem:
        """The problem that a network of this configuration poses at these sizes."""
        return cls(
            tokens=geometry.tokens,
            d_qk=config.attention_channels if config.pam else None,
            d_v=config.head_channels,
            slices=energy_slices(geometry.tokens) if config.cam else None,
            classes=config.num_classes,
            logits_hw=geometry.content_logits_hw,
            size_hw=geometry.frame_hw,
            align_corners=geometry.align_corners,
        )

    def specify(self, architecture: Architecture, variant: KernelVariant) -> list[KernelSpec]:
        """The kernels of every operator that the network has."""
        specs = []
        if self.d_qk is not None:
            specs.append(
                position_attention.specify(1, self.tokens, self.d_qk, self.d_v, architecture, variant)
            )
        if self.slices is not None:
            specs.append(channel_energy.specify(1, self.d_v, self.tokens, self.slices, architecture, variant))
        specs.append(
            upsample_argmax.specify(
                1, self.classes, self.logits_hw, self.size_hw, self.align_corners, architecture, variant
            )
        )
        return specs


def write_kernels(
    request: KernelRequest, problem: Problem, writer: BundleWriter, step: Callable[[str], None]
) -> Iterator[Kernel]:
    """Compile the kernels of a bundle and write them as ``kernels/sm_XX/OPERATOR.DTYPE.VARIANT.ptx``.

    Where both variants are the same code, the file stands once, under the first one's name.

    Args:
        request: For which architectures.
        problem: The bundle's own sizes.
        writer: Of the bundle.
        step: Is told what happens next.

    Yields:
        One manifest entry an operator, variant and architecture.

    Raises:
        ExportError: A kernel cannot be compiled within its architecture's limits.
    """
    for architecture in request.architectures:
        written: dict[str, FileRef] = {}
        for variant in VARIANTS:
            for spec in problem.specify(architecture, variant):
                step(f"compile {spec.operator} for {architecture.name} ({variant})")
                compiled = compile_cached(spec, architecture, request.dtype)
                if compiled.ptx not in written:
                    path = f"kernels/{architecture.name}/{compiled.entry}.{request.dtype}.{variant}.ptx"
                    written[compiled.ptx] = writer.add(path, compiled.ptx.encode("ascii"))
                yield Kernel(
                    operator=spec.operator,
                    arch=architecture.name,
                    dtype=request.dtype,
                    variant=variant,
                    ptx=written[compiled.ptx],
                    entry=compiled.entry,
                    grid=spec.grid,
                    block=compiled.block,
                    shared_memory_bytes=compiled.shared_memory_bytes,
                    registers=compiled.registers,
                    spill_bytes=compiled.spill_bytes,
                    ptx_version=compiled.ptx_version,
                    shape=dict(spec.shape),
                )
