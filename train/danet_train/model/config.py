"""The shape of a DANet, as one frozen and validated value: that of the head, and beside it the backbone's."""

from __future__ import annotations

from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from danet_train.config.inheritance import explain
from danet_train.errors import ConfigError
from danet_train.model.backbones.backbone import BackboneOptions
from danet_train.model.backbones.registry import DEFAULT, find_backbone

_KEYS_OF_BEFORE = (
    "depth",
    "num_classes",
    "base_channels",
    "stem",
    "stem_channels",
    "multi_grid",
    "head_channels",
    "attention_channels",
    "aux_channels",
    "pam",
    "cam",
    "dropout",
    "align_corners",
)
"""Keys of a ResNet's config in files, in order; ``backbone`` is left out, as in files of before."""


class DANetConfig(BaseModel):
    """Everything that decides a DANet's modules and their shapes.

    The options of the backbone stand beside those below, as attributes too: ``depth``, ``base_channels``,
    for example ``stem``, ``stem_channels`` and ``multi_grid`` of the ResNet
    (:class:`danet_train.model.backbones.resnet_options.ResNetOptions`).

    Attributes:
        backbone: Name of the backbone, as :mod:`danet_train.model.backbones.registry` lists it.
        num_classes: Channels of the logits.
        head_channels: Width of both branches of the head.
        attention_channels: Width of PAM's queries and keys.
        aux_channels: Width of the auxiliary head on the backbone's c3, None (or 0) for no auxiliary head.
        pam: Whether the head has the position attention branch.
        cam: Whether the head has the channel attention branch.
        dropout: Probability of dropout of a channel before each classifier.
        align_corners: Whether logits are upsampled with aligned corners. None is mmsegmentation's rule by
            input size: false for 8k, true for 8k+1.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)  # the backbone refuses what is not its

    backbone: str = DEFAULT
    num_classes: int = Field(default=19, ge=2, le=255)
    head_channels: int = Field(default=512, ge=1)
    attention_channels: int = Field(default=64, ge=1)
    aux_channels: int | None = Field(default=256, ge=1)
    pam: bool = True
    cam: bool = True
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    align_corners: bool | None = None

    @field_validator("backbone")
    @classmethod
    def _backbone_is_known(cls, value: str) -> str:
        try:
            return find_backbone(value).name
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @field_validator("aux_channels", mode="before")
    @classmethod
    def _zero_is_none(cls, value: object) -> object:
        return None if value == 0 and value is not False else value

    @model_validator(mode="after")
    def _options_are_the_backbones(self) -> DANetConfig:
        stated = self._stated()
        stated.update(find_backbone(self.backbone).options.model_validate(dict(stated)))
        return self

    @model_serializer(mode="wrap")
    def _as_files_have_it(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        if self.backbone != DEFAULT:
            return content
        return {key: content[key] for key in _KEYS_OF_BEFORE if key in content}

    @property
    def options(self) -> BackboneOptions:
        """The options of the backbone."""
        checked: BackboneOptions = find_backbone(self.backbone).options.model_validate(self._stated())
        return checked

    @property
    def c3_channels(self) -> int:
        """Channels of the backbone's c3."""
        return find_backbone(self.backbone).channels(self.options).c3

    @property
    def c4_channels(self) -> int:
        """Channels of the backbone's c4."""
        return find_backbone(self.backbone).channels(self.options).c4

    @property
    def label(self) -> str:
        """The backbone's short name, e.g. ``R50``."""
        return find_backbone(self.backbone).label(self.options)

    def _stated(self) -> dict[str, Any]:
        if self.__pydantic_extra__ is None:
            raise RuntimeError("pydantic keeps what is no field where extra is allowed")
        return self.__pydantic_extra__


def make_config(source: str = "DANet", **options: Any) -> DANetConfig:  # noqa: ANN401 - pydantic checks them
    """Return the DANetConfig of ``options``.

    Raises:
        ConfigError: An option is unknown, of a wrong type or impossible; the message begins with ``source``.
    """
    try:
        return DANetConfig(**options)
    except ValidationError as error:
        raise explain(source, error) from error
