"""Find the tensors of a file, and remove the names of wrappings from theirs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor

from danet_train.errors import CheckpointError

_KEYS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
)
"""Keys under which trainers keep a network's tensors; the first that holds any is taken."""
_AVERAGED = ("ema_state_dict", "state_dict_ema", "model_ema", "ema_model", "ema", "params_ema")
"""Keys of a second set of tensors, averaged over the training or (mmengine's) not averaged."""
_DEEPEST = 4

_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Names of the one child of torch's wrappings: parallel, compiled, sharded, with activation checkpoints."""
_PARTS = {"backbone", "decode_head", "auxiliary_head", "pretrained", "head"}
_LAYERS = {"stem", "conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}
_ROOTS = _PARTS | _LAYERS
"""First parts of the names of a whole DANet, and of a ResNet alone."""
_COUNTERS = ("n_averaged", "steps")  # of torch's and of mmengine's averaged model
_BACKUP = "ema_"  # mmcv keeps the other set of weights in the network, under such flat names


class FoundState(NamedTuple):
    """The tensors of a file.

    Attributes:
        state: The tensors by the file's own names; not yet checked one by one.
        notes: One sentence for each other set in the file.
    """

    state: dict[Any, Any]
    notes: tuple[str, ...]


def find_state(content: object) -> FoundState | None:
    """Find the tensors by name anywhere in ``content``; None where there are none.

    They stand under one of the usual keys, at most four deep, or are all that there is.
    """
    found = _search(content, _DEEPEST)
    if found is not None or not isinstance(content, dict):
        return found
    if isinstance(content.get("state_dict"), dict):
        return FoundState(content["state_dict"], ())
    return FoundState(content, ()) if content and all(map(_is_tensor, content.values())) else None


def _search(content: object, depth: int) -> FoundState | None:
    """Find a mapping that holds a tensor under a usual key, or below one."""
    if not isinstance(content, dict) or not depth:
        return None
    for key in (*_KEYS, *_AVERAGED):
        held = content.get(key)
        if not isinstance(held, dict):
            continue
        found = _search(held, depth - 1)
        if found is None and any(map(_is_tensor, held.values())):
            found = FoundState(held, ())
        if found is not None:
            second = next((other for other in _AVERAGED if other != key and content.get(other)), None)
            if second is None:
                return found
            note = f"left out: the second set of weights, under {second!r}; those under {key!r} are taken"
            return FoundState(found.state, (*found.notes, note))
    return None


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)


def unwrapped(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors by the names of the network itself, and a sentence for each part left out.

    The names of wrappings are removed wherever they stand, in any order and nesting, and so is a prefix of
    all names, such as ``model.``. Counters of averaged models and mmcv's second set of weights are left
    out.

    Raises:
        CheckpointError: Two tensors would have one name.
    """
    notes = []
    origin: dict[str, str] = {}
    for name in state:
        *parents, last = name.split(".")
        plain = ".".join((*(parent for parent in parents if parent not in _WRAPPERS), last))
        if plain in origin:
            raise CheckpointError(
                f"{origin[plain]!r} and {name!r} would be the same tensor, {plain!r}; one of them does not "
                "belong there"
            )
        origin[plain] = name
    counters = [name for name in _COUNTERS if name in origin and state[origin[name]].numel() == 1]
    if counters and len(origin) > len(counters):
        notes.append(f"left out: {', '.join(origin.pop(name) for name in counters)}, counters of averaging")
    before = _before_all(origin)
    origin = {name[before:]: own for name, own in origin.items()}
    backups = {_BACKUP + name.replace(".", "_") for name in origin} & set(origin)
    if backups:
        notes.append(f"left out: {len(backups)} tensors of a second set of weights, {min(backups)!r}, ...")
    held = {name: state[own] for name, own in origin.items() if name not in backups}
    return held, tuple(notes)


def _before_all(names: Iterable[str]) -> int:
    """Return the length of the prefix of all names, up to the network's own part; 0 where there is none."""
    split = [name.split(".") for name in names if not name.startswith(_BACKUP)]
    for depth in range(2 * _DEEPEST):
        heads = {parts[depth] if len(parts) > depth + 1 else "" for parts in split}
        if heads & _ROOTS:
            return sum(len(part) + 1 for part in split[0][:depth])
        if len(heads) != 1:
            break
    return 0
