"""The manifest: what a bundle says of itself, as a typed schema that refuses what it does not know.

Every stage reads shapes, classes, normalisation and file names from here, never from a constant of its own.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from danet_runtime.bundle.folder import path_fault
from danet_runtime.bundle.operators import Operator
from danet_runtime.errors import ManifestError
from danet_runtime.files.limited import require_plain_json
from danet_runtime.frames.pixel_formats import Color, LevelRange, PixelFormat, Pixels
from danet_runtime.pictures.header import MOST_PIXELS, MOST_SIDE

SCHEMA_VERSION: Final = 1
"""Version of the manifest that this package writes, and the only one that it reads."""

IGNORE_LABEL = 255
"""Label of pixels that belong to no class."""

FILE_LIMIT_BYTES: Final = 1 << 31
"""Size that no file of a bundle can exceed: an ONNX file is one protobuf message, and these end at 2 GiB."""

Precision = Literal["fp32", "fp16", "int8"]

KernelDtype = Literal["fp16", "bf16"]
"""Type of the operators' floating-point tensors that a kernel is compiled for."""

KernelVariant = Literal["tuned", "small"]
"""``small``: at most 48 KiB of shared memory a block, which every launch may use without asking for more."""

GoldenOrigin = Literal["drawn", "frames", "calibration"]
"""Origin of a golden frame: a drawn pattern, ``danet export --data``, or a frame of the calibration."""


def _inside_bundle(path: str) -> str:
    if fault := path_fault(path):
        raise ValueError(fault)
    return path


def _folders(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


BundlePath = Annotated[str, AfterValidator(_inside_bundle)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0, le=2**53)]
PositiveCount = Annotated[int, Field(ge=1, le=2**53)]
SmallInt = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Extent = Annotated[int, Field(ge=1, le=MOST_SIDE)]
GridExtent = Annotated[int, Field(ge=1, le=2147483647)]
SizeHW = tuple[Extent, Extent]


class Schema(BaseModel):
    """Base of all parts of a manifest: immutable, no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FileRef(Schema):
    """One file of the bundle, with what proves that it is the file that was written."""

    path: BundlePath
    sha256: Sha256
    bytes: int = Field(ge=0, le=FILE_LIMIT_BYTES)


class SegmentationClass(Schema):
    """One class; its label is its position in the manifest's list."""

    name: str = Field(min_length=1)
    color: tuple[
        Annotated[int, Field(ge=0, le=255)],
        Annotated[int, Field(ge=0, le=255)],
        Annotated[int, Field(ge=0, le=255)],
    ] = Field(description="RGB, 0..255")


class FrameSpec(Schema):
    """The model file's input and output: ``frame`` uint8 (1, *shape), ``labels`` uint8 (1, H, W).

    The layouts stand in :mod:`danet_runtime.frames.pixel_formats`; bundles without these keys take BGR.
    """

    size_hw: SizeHW
    pixel_format: PixelFormat = "bgr"
    color: Color = Field(
        default="bt601",
        validation_alias=AliasChoices("color", "colour"),  # the spelling of version 0.1
        description="matrix of luma and chroma; only bt601 with bgr",
    )
    range: LevelRange = Field(default="limited", description="of luma and chroma; only limited with bgr")

    @property
    def pixels(self) -> Pixels:
        """Layout and meaning of the bytes."""
        return Pixels(self.pixel_format, self.color, self.range)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one frame, without the model file's first axis."""
        return self.pixels.shape(self.size_hw)

    @model_validator(mode="after")
    def _format_has_such_a_size(self) -> FrameSpec:
        if fault := self.pixels.fault(self.size_hw):
            raise ValueError(fault)
        if self.size_hw[0] * self.size_hw[1] > MOST_PIXELS:
            raise ValueError(f"a frame has at most {MOST_PIXELS} pixels (got {self.size_hw})")
        if self.pixel_format == "bgr" and self.pixels != Pixels():
            raise ValueError(f"bgr has neither color nor range (got {self.color}, {self.range})")
        return self


class ModelSpec(Schema):
    """The network inside the model file."""

    architecture: dict[str, SmallInt | float | bool | str | tuple[SmallInt, ...] | None] = Field(
        description="the arguments of danet_train.build_model"
    )
    parameters: PositiveCount
    size_hw: SizeHW = Field(description="what the network sees, after the resize from the frame")
    fit: Literal["stretch", "letterbox"]
    align_corners: bool
    tokens: PositiveCount = Field(description="N of the position attention: logit height times logit width")

    @model_validator(mode="after")
    def _size_is_served(self) -> ModelSpec:
        if {extent % 8 for extent in self.size_hw} not in ({0}, {1}):
            raise ValueError(f"model size must be 8k or 8k+1 in both directions (got {self.size_hw})")
        return self


class Normalisation(Schema):
    """``(pixel - mean) / std`` in RGB order on the range 0..255, done inside the model file."""

    mean_rgb: tuple[float, float, float]
    std_rgb: tuple[float, float, float]


class Accuracy(Schema):
    """Accuracy measured through a variant's own file on labelled frames."""

    dataset: str
    frames: PositiveCount
    backend: str
    miou: Share
    pixel_accuracy: Share
    iou: dict[str, Share | None] = Field(description="per class; null where the class does not occur")
    labelled_pixels: dict[str, Count] = Field(
        default={}, description="per class, in all frames; 0 where no label holds it"
    )
    labelled_frames: dict[str, Count] = Field(
        default={}, description="per class, how many frames have a label of it"
    )


class CalibrationFrame(Schema):
    """One frame that the scales were found on."""

    path: str = Field(min_length=1, description="relative to the folder of the frames")
    sha256: Sha256 = Field(description="of the picture's file")


class FloatingLayer(Schema):
    """A convolution of an INT8 variant that computes in FP16."""

    name: str = Field(min_length=1, description="its module in the network")
    node: str = Field(min_length=1, description="its name in the model files")
    by: Literal["gate", "placement"] = Field(
        description="gate: moved back for the accuracy; placement: never quantised, as too narrow to gain"
    )


class Quantisation(Schema):
    """How an INT8 variant was made."""

    method: str
    calibration_frames: PositiveCount
    calibration_sha256: Sha256 = Field(description="over the frames' own hashes, in order")
    conv_mac_share_int8: Share = Field(
        description="share of convolution MACs whose inputs are all dequantised"
    )
    quantize_nodes: PositiveCount
    frames: tuple[CalibrationFrame, ...] = Field(default=(), description="in the order of the hash over all")
    floating_layers: tuple[FloatingLayer, ...] = ()
    gate: Literal["passed", "agreement only", "not measured"] = Field(
        default="not measured",
        description="passed: the accuracy on labelled frames; agreement only: there were no labels, and "
        "FP32's label had to be given to enough pixels; what fails is not written",
    )
    gate_measured: tuple[str, ...] = Field(default=(), description="guarded classes that the gate measured")
    gate_unmeasured: tuple[str, ...] = Field(
        default=(), description="guarded classes with too few labels to say anything of them"
    )
    gate_overlap: Count = Field(
        default=0, description="labelled frames of the gate that calibration saw too, by their content"
    )
    agreement: Share | None = Field(
        default=None, description="pixels with FP32's label, on the frames of agreement_of"
    )
    agreement_of: str = ""

    @property
    def gate_doubt(self) -> str | None:
        """Why the accuracy of the variant is not known, in words; None where labelled frames gated it."""
        if self.gate == "passed":
            return None
        if self.gate == "agreement only" and self.agreement is not None:
            return (
                "no labelled frames measured its accuracy: all that is known is that it gives FP32's label "
                f"to {self.agreement:.2%} of the pixels of {self.agreement_of}"
            )
        return "nothing measured its accuracy"


class Variant(Schema):
    """One precision of the model."""

    file: FileRef
    opset: PositiveCount
    accuracy: Accuracy | None = None
    quantisation: Quantisation | None = None


class Kernel(Schema):
    """One compiled kernel: PTX for one architecture, specialised for the bundle's own shapes.

    Its parameters are the input pointers and then the output pointers, nothing else. Every shape is
    a constant of the code, so a kernel is right for ``shape`` alone.
    """

    operator: Operator
    arch: str = Field(pattern=r"^sm_[0-9]{2,3}a?$")
    dtype: KernelDtype = Field(description="of the operator's floating-point tensors")
    variant: KernelVariant = Field(description="small: at most 48 KiB of shared memory a block")
    ptx: FileRef
    entry: str = Field(description="name of the kernel in the PTX", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    grid: tuple[GridExtent, GridExtent, GridExtent]
    block: tuple[GridExtent, GridExtent, GridExtent]
    shared_memory_bytes: int = Field(ge=0, le=232448, description="dynamic, a block")
    registers: int = Field(ge=1, le=255, description="a thread, as ptxas reports for this architecture")
    spill_bytes: Count
    ptx_version: str = Field(pattern=r"^[0-9]+\.[0-9]$")
    shape: dict[str, SmallInt] = Field(description="sizes that the code is specialised for")


class Lowerings(Schema):
    """Other bodies for the custom operators, as ONNX files of functions alone."""

    native: FileRef | None = Field(default=None, description="with operators that TensorRT fuses by itself")


class Golden(Schema):
    """A frame whose labels are known, to try a backend with before it is trusted."""

    frame: FileRef = Field(
        description="PNG of the bytes that the model takes: bgr in color, nv12 and uyvy as grey pictures "
        "(H * 3 / 2, W) and (H, 2 W)"
    )
    labels: FileRef = Field(
        description="PNG, one channel, the labels of the FP32 network in PyTorch; where calibration chose "
        "the frame, of the FP32 file, which export held to PyTorch"
    )
    agreement: dict[Precision, Share] = Field(description="share of equal labels that a precision must reach")
    origin: GoldenOrigin | None = Field(
        default=None,
        description="drawn: a pattern; frames: the user's own, at export; calibration: one of the frames "
        "that the INT8 variant was calibrated or compared on; null: not told, by an older version",
    )


class Provenance(Schema):
    """Where the bundle comes from."""

    created: str = Field(description="UTC, ISO 8601")
    tools: dict[str, str]
    checkpoint_sha256: Sha256
    parent_sha256: Sha256 | None = Field(
        default=None, description="manifest of the bundle this one was made from"
    )


class Manifest(Schema):
    """The whole of ``manifest.json``."""

    kind: Literal["danet-bundle"] = "danet-bundle"
    schema_version: Literal[1] = SCHEMA_VERSION
    frame: FrameSpec
    model: ModelSpec
    normalisation: Normalisation
    classes: tuple[SegmentationClass, ...] = Field(min_length=1, max_length=255)
    variants: dict[Precision, Variant] = Field(min_length=1)
    kernels: tuple[Kernel, ...] = ()
    lowerings: Lowerings = Lowerings()
    golden: Golden
    reports: dict[str, FileRef] = {}
    trained_scales: FileRef | None = Field(
        default=None, description="JSON, INT8 scales of activations that the network was fine-tuned with"
    )
    provenance: Provenance

    @model_validator(mode="after")
    def _each_path_is_one_file(self) -> Manifest:
        """No two entries may differ about a file, not even where upper and lower case are one."""
        seen: dict[str, FileRef] = {}
        for ref in self.files():
            if seen.setdefault(ref.path.lower(), ref) != ref:
                raise ValueError(f"{ref.path} and {seen[ref.path.lower()].path} are one file, said to be two")
        folders = {part for path in seen for part in _folders(path)}
        if both := folders & set(seen):
            raise ValueError(f"{sorted(both)[0]} is said to be both a file and a folder")
        return self

    def files(self) -> list[FileRef]:
        """Every file that the manifest vouches for."""
        return [
            *self.model_files(),
            *(kernel.ptx for kernel in self.kernels),
            self.golden.frame,
            self.golden.labels,
            *self.reports.values(),
            *([self.trained_scales] if self.trained_scales else []),
        ]

    def model_files(self) -> list[FileRef]:
        """Those of the files that are ONNX."""
        lowerings = [self.lowerings.native] if self.lowerings.native else []
        return [*(variant.file for variant in self.variants.values()), *lowerings]

    def to_json(self) -> str:
        """The text of ``manifest.json``; the same manifest always gives the same text."""
        return self.model_dump_json(indent=2) + "\n"


def parse_manifest(text: str | bytes, origin: str) -> Manifest:
    """Read a manifest.

    Args:
        text: The content of ``manifest.json``.
        origin: Name of the manifest in error messages.

    Raises:
        ManifestError: Not JSON, an unknown schema version, an unknown, missing or repeated key, a wrong type
            or value.
    """
    try:
        manifest = Manifest.model_validate_json(text)
        require_plain_json(text.encode() if isinstance(text, str) else text)
    except ValidationError as error:
        raise ManifestError(f"{origin}: {_explain(error)}") from error
    except ValueError as error:  # behind ValidationError, which is one
        raise ManifestError(f"{origin}: {error}; export the bundle again") from error
    return manifest


def _explain(error: ValidationError) -> str:
    problems = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"]) or "the file"
        if key == "schema_version":
            return (
                f"expected schema_version {SCHEMA_VERSION}, got {repr(item['input'])[:80]}; "
                "use the danet version that wrote the bundle, or export it again with this one"
            )
        if item["type"] == "extra_forbidden":
            problems.append(f"unknown key {key}")
        elif item["type"] == "missing":
            problems.append(f"key {key} is missing")
        else:
            # A check of this project's own says what came by itself.
            got = "" if "(got " in item["msg"] else f" (got {str(item['input'])[:80]!r})"
            problems.append(f"{key}: {item['msg']}{got}")
    shown = "; ".join(problems[:4]) + (f"; and {len(problems) - 4} more" if len(problems) > 4 else "")
    return f"does not follow schema version {SCHEMA_VERSION}: {shown}; export the bundle again"
