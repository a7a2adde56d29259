"""The interface of a backbone. A backbone is a module and a line in ``registry``.

The module imports no torch before it builds: it is read to check and to list configurations.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from danet_train.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn

_SHOWN = 4


class BackboneOptions(BaseModel):
    """The options of a backbone, as ``model:`` states them beside those of the head."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


OptionsT = TypeVar("OptionsT", bound=BackboneOptions)


class Channels(NamedTuple):
    """Channels of the two outputs: ``c3`` for the auxiliary head, ``c4`` for the attention head."""

    c3: int
    c4: int


class Backbone(ABC, Generic[OptionsT]):
    """One kind of network under the head.

    Attributes:
        name: Its name in a configuration's ``model.backbone``.
        help: A description, as part of a sentence.
        options: The options that ``model:`` may state; their names differ from those of the head.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    options: type[OptionsT]

    @abstractmethod
    def channels(self, options: OptionsT) -> Channels:
        """Return the channels of the two outputs."""

    @abstractmethod
    def build(self, options: OptionsT) -> nn.Module:
        """Build it with fresh weights: (B, 3, H, W) -> c3 and c4, each (B, C, h, w), h = ceil(H / 8)."""

    def label(self, options: OptionsT) -> str:
        """Return a short name of the backbone with ``options``, for tables and messages."""
        return self.name

    def read_options(self, tensors: StoredTensors, stated: Mapping[str, Any]) -> dict[str, Any]:
        """Read the options of the backbone off a checkpoint; every tensor is accounted for later.

        Args:
            tensors: The tensors of the checkpoint, by this project's names.
            stated: Options that the file or the caller states.

        Raises:
            CheckpointError: The tensors are not of such a backbone.
        """
        return {name: stated[name] for name in self.options.model_fields if name in stated}


class StoredTensors:
    """The names and shapes of a checkpoint's tensors.

    Args:
        state: Tensors by this project's names.
        own_name: Maps a name to that in the file itself, for messages.
    """

    def __init__(self, state: Mapping[str, Tensor], own_name: Callable[[str], str] = str) -> None:
        self._state = state
        self._own_name = own_name

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of the file."""
        return tuple(self._state)

    def has(self, prefix: str) -> bool:
        """Return whether any name begins with ``prefix``."""
        return any(name.startswith(prefix) for name in self._state)

    def width(self, name: str) -> int:
        """Return the output channels of a convolution's weight.

        Raises:
            CheckpointError: It is missing, or no convolution's.
        """
        if name not in self._state:
            shown = ", ".join(repr(self._own_name(key)) for key in self.names[:_SHOWN]) or "nothing"
            raise CheckpointError(
                f"a DANet has a tensor {self._own_name(name)!r}, which this file lacks; its "
                f"{len(self._state)} tensors begin with {shown}. Give a whole DANet"
            )
        shape = tuple(self._state[name].shape)
        if len(shape) != 4:
            raise CheckpointError(f"{self._own_name(name)} must have 4 axes, not the shape {shape}")
        return int(shape[0])
