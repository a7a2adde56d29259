"""``trained_scales.json``: the trained scales by the node and input that read them in a bundle's files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from danet_train.errors import QuantisationError

_CLOSED = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TrainedScale(BaseModel):
    """The scale of one input of one node; several inputs that read one tensor have the same.

    Attributes:
        node: Name of the node, the same in the FP32 and the FP16 file.
        position: Position of the input.
        scale: Scale of the whole tensor, symmetric: one level of INT8 in the tensor's units.
        activation: Name of the tensor in the trained network.
    """

    model_config = _CLOSED

    node: Annotated[str, Field(min_length=1)]
    position: Annotated[int, Field(ge=0)]
    scale: Annotated[float, Field(gt=0)]
    activation: str


class TrainedScales(BaseModel):
    """The whole file. ``scales`` names every quantised activation input of the model, and no input twice."""

    model_config = _CLOSED

    kind: Literal["danet-trained-scales"] = "danet-trained-scales"
    scales: tuple[TrainedScale, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_input_twice(self) -> TrainedScales:
        if len({(entry.node, entry.position) for entry in self.scales}) != len(self.scales):
            raise ValueError("an input of a node has two scales")
        return self


def write_trained_scales(scales: Sequence[TrainedScale]) -> bytes:
    """The content of ``trained_scales.json``."""
    return (TrainedScales(scales=tuple(scales)).model_dump_json(indent=2) + "\n").encode()


def read_trained_scales(data: bytes) -> dict[tuple[str, int], float]:
    """The scale of every quantised activation input, by the name of the node and the position of the input.

    Raises:
        QuantisationError: ``data`` is no such file, or a scale in it is repeated or no positive number.
    """
    try:
        read = TrainedScales.model_validate_json(data)
    except ValidationError as error:
        finding = error.errors()[0]
        where = ".".join(str(part) for part in finding["loc"]) or "the whole"
        raise QuantisationError(
            f"trained_scales.json is damaged: {where}: {finding['msg']}; export the checkpoint again"
        ) from error
    return {(entry.node, entry.position): entry.scale for entry in read.scales}
