"""The normalisation of an image before the backbone."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Positive = Annotated[float, Field(gt=0)]


class Normalisation(BaseModel):
    """``(value - mean) / std`` per channel, in RGB order, on the scale 0..255.

    The defaults are ImageNet's statistics, which mmsegmentation's and the authors' weights both use.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[_Positive, _Positive, _Positive] = (58.395, 57.12, 57.375)
