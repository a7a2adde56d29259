"""A layout of data sets as somebody would add one: this module, and a line in ``LAYOUTS``."""

from __future__ import annotations

from pathlib import Path

from danet_train.classes import ClassTable, find_classes
from danet_train.data.datasets.layout import Layout, Split, in_order
from danet_train.data.samples.sample import Pair
from danet_train.errors import NoDatasetError


class Toybox(Layout):
    """Photographs with their masks beside them."""

    name = "Toybox"
    help = "a Toybox of photographs with masks beside them"
    sign = "toybox.txt"
    drawing = "ROOT/toybox.txt\nROOT/SPLIT/NAME.png\nROOT/SPLIT/NAME_mask.png"
    label_folders = ()
    label_endings = ("_mask",)
    learning = ("learn",)

    def locate(self, root: Path) -> Path | None:
        return root if (root / "toybox.txt").is_file() else None

    def splits(self, root: Path) -> list[str]:
        return in_order((entry.name for entry in root.iterdir() if entry.is_dir()), self.learning)

    def find_split(self, root: Path, split: str) -> Split:
        folder = root / split
        if not folder.is_dir():
            raise NoDatasetError(f"{root} has no split {split!r}; it has {', '.join(self.splits(root))}")
        images = sorted(file for file in folder.glob("*.png") if not file.stem.endswith("_mask"))
        pairs = [Pair(file.stem, file, file.with_name(f"{file.stem}_mask.png")) for file in images]
        return Split(pairs, f"in {folder}", folder)

    def own_classes(self, root: Path, split: str) -> ClassTable:
        return find_classes("camvid")
