"""Find pictures and their masks in a folder, by the names that people give to folders and files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, Literal, NamedTuple

from danet_train.data.datasets.folder import files_below
from danet_train.data.samples.faults import Skipped
from danet_train.errors import DataError, NoDatasetError, UsageError

_IMAGE_WORDS: Final = frozenset(
    {
        *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "frame", "frames"),
        *("rgb", "input", "inputs", "original", "originals", "jpegimages", "leftimg8bit"),
    }
)
_MASK_WORDS: Final = frozenset(
    {
        *("mask", "masks", "label", "labels", "annotation", "annotations", "annot", "annots", "ann", "anns"),
        *("segmentation", "segmentations", "segmentationclass", "segmentationclassaug", "seg", "segs"),
        *("semantic", "gt", "gtfine", "groundtruth", "target", "targets", "labelids"),
    }
)
_INSTANCE_WORDS: Final = frozenset(["instance", "instances", "instanceids", "segmentationobject"])
_SPLIT_WORDS: Final = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_PARTS: Final = re.compile(r"[-_. ]+")
_NAMED: Final = 3

Role = Literal["image", "mask", "instances"]


class OwnPair(NamedTuple):
    """A picture and its mask.

    Attributes:
        name: Name in the new data set: folders below the picture's, without those that tell roles and
            splits, and the picture's stem.
        image: File of the picture.
        mask: File of the mask.
        split: The split that their folders name, ``train``, ``val`` or ``test``; None where they name none.
    """

    name: str
    image: Path
    mask: Path
    split: str | None


class Discovery(NamedTuple):
    """The pairs in a folder, and what belongs to none.

    Attributes:
        pairs: In the order of their names.
        unpaired: Pictures without a mask, and masks without a picture, with the reasons.
        left_out: Other files, with the reasons.
        notes: What was decided about names, in sentences.
    """

    pairs: list[OwnPair]
    unpaired: list[Skipped]
    left_out: list[Skipped]
    notes: list[str]


class _File(NamedTuple):
    """A picture or a mask: its folders without words of roles, its stem as it is, and without such words."""

    path: Path
    folders: tuple[str, ...]
    split: str | None
    stem: str
    bare: str


def find_pairs(folder: Path, images: Path | None = None, masks: Path | None = None) -> Discovery:
    """Find the pictures below a folder with a mask each.

    A file is a mask where a folder above it, or the beginning or the end of its name, says so (``masks``,
    ``train_labels``, ``001_mask.png``). A mask belongs to the picture that has its name without such words,
    in the same folders without such words; then to the one whose name differs in case alone; then to the
    only one of that name anywhere.

    Args:
        folder: The folder to search.
        images: The folder of the pictures, where names do not tell; given together with ``masks``.
        masks: The folder of the masks.

    Raises:
        NoDatasetError: A folder is not there.
        UsageError: One of ``images`` and ``masks`` is given alone.
        DataError: There is no pair, or a picture has two masks.
    """
    if (images is None) != (masks is None):
        raise UsageError("--images and --masks go together; give both, or neither")
    for place in (folder, images, masks):
        if place is not None and not place.is_dir():
            raise NoDatasetError(f"{place} is not a folder; give the folder of your pictures and masks")
    left_out: list[Skipped] = []
    pictures: list[_File] = []
    labels: list[_File] = []
    if images is not None and masks is not None:
        pictures = [_file_below(file, images) for file in _taken(images, left_out)]
        labels = [_file_below(file, masks) for file in _taken(masks, left_out)]
    else:
        for file in _taken(folder, left_out):
            role, read = _read(file, folder)
            if role == "instances":
                left_out.append(Skipped(str(file), "a mask of instances, not of classes"))
            else:
                (labels if role == "mask" else pictures).append(read)
    return _paired(folder, pictures, labels, left_out)


def bare_stem(stem: str) -> str:
    """Return a file's stem without words at its beginning or end that say what it is."""
    parts = _PARTS.split(stem)
    words = _IMAGE_WORDS | _MASK_WORDS | {"l"}
    kept = list(parts)
    while kept and kept[-1].lower() in words:
        kept.pop()
    while kept and kept[0].lower() in words - {"l"}:
        kept.pop(0)
    return stem if kept == parts else "_".join(kept)


def _taken(folder: Path, left_out: list[Skipped]) -> list[Path]:
    files = []
    for file, why in files_below(folder):
        if why is None:
            files.append(file)
        else:
            left_out.append(Skipped(str(file), why))
    return files


def _file_below(file: Path, folder: Path) -> _File:
    folders, split = _without_split(file.relative_to(folder).parent.parts)
    return _File(file, folders, split, file.stem, bare_stem(file.stem))


def _read(file: Path, folder: Path) -> tuple[Role, _File]:
    """Return what a file is by its folders and its name, and the file without the words that say so."""
    role: Role | None = None
    kept: list[str] = []
    for part in file.relative_to(folder).parent.parts:
        own, rest = _role_of_folder(part)
        role = own or role
        kept += [rest] if rest else []
    role = _role_of_ending(file.stem) or role or _role_of_beginning(file.stem)
    folders, split = _without_split(kept)
    return role or "image", _File(file, folders, split, file.stem, bare_stem(file.stem))


def _role_of_ending(stem: str) -> Role | None:
    """Return the role that the last word of a name says, as ``_gtFine_labelIds`` does."""
    last = _PARTS.split(stem)[-1]
    if last.lower() in _INSTANCE_WORDS:
        return "instances"
    return "mask" if last.lower() in _MASK_WORDS or stem.endswith("_L") else None  # the latter CamVid's


def _role_of_beginning(stem: str) -> Role | None:
    return "mask" if _PARTS.split(stem)[0].lower() in _MASK_WORDS else None


def _role_of_folder(name: str) -> tuple[Role | None, str]:
    """Return the role that a folder's name says, and the name without the words that say it."""
    ending = re.fullmatch(r"(train|val|test)(annot)", name, re.IGNORECASE)  # SegNet's CamVid
    parts = [ending[1], ending[2]] if ending else [part for part in _PARTS.split(name) if part]
    joined = "".join(parts).lower()
    if joined in _MASK_WORDS or joined in _IMAGE_WORDS:  # ground_truth
        parts = [joined]
    words: tuple[tuple[Role, frozenset[str]], ...] = (
        ("instances", _INSTANCE_WORDS),
        ("mask", _MASK_WORDS),
        ("image", _IMAGE_WORDS),
    )
    found = [role for role, known in words if any(part.lower() in known for part in parts)]
    if not found:
        return None, name
    rest = [part for part in parts if part.lower() not in _INSTANCE_WORDS | _MASK_WORDS | _IMAGE_WORDS]
    return found[0], "_".join(rest)


def _without_split(folders: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    splits = [_SPLIT_WORDS[name.lower()] for name in folders if name.lower() in _SPLIT_WORDS]
    kept = tuple(name for name in folders if name.lower() not in _SPLIT_WORDS)
    return kept, splits[0] if splits else None


def _paired(folder: Path, pictures: list[_File], labels: list[_File], left_out: list[Skipped]) -> Discovery:
    ways: tuple[Callable[[_File], Hashable], ...] = (
        lambda file: (file.split, file.folders, file.stem),
        lambda file: (file.split, file.folders, file.bare),
        lambda file: (file.split, file.folders, file.bare.casefold()),
        lambda file: file.bare.casefold(),
    )
    pairs: list[tuple[_File, _File]] = []
    by_case: list[tuple[_File, _File]] = []
    for number, way in enumerate(ways):
        is_last = number == len(ways) - 1
        found = _matched(pictures, labels, way, is_strict=not is_last)
        pairs += found
        by_case += [pair for pair in found if pair[0].bare != pair[1].bare]
        done = {file.path for pair in found for file in pair}
        pictures = [file for file in pictures if file.path not in done]
        labels = [file for file in labels if file.path not in done]
    if not pairs:
        raise DataError(
            f"{folder} holds no picture with a mask: {_counted(pictures, 'picture')}, "
            f"{_counted(labels, 'mask')}; put them into images/ and masks/ under the same names, or say "
            "where they are with --images and --masks"
        )
    notes = []
    if by_case:
        image, mask = by_case[0]
        notes.append(
            f"{len(by_case)} of the pairs have names that differ in case; the first: {image.path.name} and "
            f"{mask.path.name}"
        )
    own = [
        OwnPair(
            str(PurePosixPath(*image.folders, image.stem)), image.path, mask.path, image.split or mask.split
        )
        for image, mask in pairs
    ]
    _require_names_once(own)
    unpaired = [Skipped(str(file.path), "a picture without a mask") for file in pictures]
    unpaired += [Skipped(str(file.path), "a mask without a picture") for file in labels]
    return Discovery(sorted(own), unpaired, left_out, notes)


def _matched(
    pictures: list[_File], labels: list[_File], way: Callable[[_File], Hashable], *, is_strict: bool
) -> list[tuple[_File, _File]]:
    """Return the pairs of one key each; under ``is_strict`` a key of several files is an error."""
    keyed: tuple[dict[Hashable, list[_File]], ...] = (defaultdict(list), defaultdict(list))
    for files, into in zip((pictures, labels), keyed, strict=True):
        for file in files:
            into[way(file)].append(file)
    found = []
    for key in keyed[0].keys() & keyed[1].keys():
        images, masks = keyed[0][key], keyed[1][key]
        if len(images) == len(masks) == 1:
            found.append((images[0], masks[0]))
        elif is_strict:
            several = masks if len(masks) > 1 else images
            what = "masks belong to one picture" if len(masks) > 1 else "pictures share one mask"
            names = ", ".join(sorted(str(file.path) for file in several)[:_NAMED])
            other = (images if len(masks) > 1 else masks)[0].path
            raise DataError(
                f"{len(several)} {what}, {other}: {names}; leave one, or say which folders to take with "
                "--images and --masks"
            )
    return sorted(found)


def _counted(files: list[_File], what: str) -> str:
    words = f"{len(files) or 'no'} {what}{'' if len(files) == 1 else 's'}"
    return words + (f", the first {min(files).path}" if files else "")


def _require_names_once(pairs: list[OwnPair]) -> None:
    seen: dict[str, OwnPair] = {}
    for pair in pairs:
        first = seen.setdefault(pair.name.casefold(), pair)
        if first is not pair:
            raise DataError(
                f"{first.image} and {pair.image} would both be named {pair.name}; rename one of them"
            )
