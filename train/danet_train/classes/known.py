"""The class tables that are known by name, and one for a network that names no classes."""

from __future__ import annotations

from pathlib import Path

from cityscapesscripts.helpers.labels import labels as _cityscapes_labels

from danet_train.classes.class_file import read_classes
from danet_train.classes.colors import distinct_colors
from danet_train.classes.table import IGNORE, ClassTable
from danet_train.config.inheritance import CLASS_TABLES, packaged_class_tables
from danet_train.errors import ConfigError


def find_classes(name_or_path: str | Path) -> ClassTable:
    """The packaged table of that name (``cityscapes``, ``camvid``, ...), or else the file at that path.

    Raises:
        ConfigError: It is neither a packaged table nor a readable class file.
    """
    if str(name_or_path) == "cityscapes":
        return CITYSCAPES
    packaged = CLASS_TABLES / f"{name_or_path}.yaml"
    if Path(name_or_path).name == str(name_or_path) and packaged.is_file():
        return read_classes(packaged)
    if not Path(name_or_path).exists():
        raise ConfigError(
            f"{name_or_path} is neither a packaged class table ({', '.join(packaged_class_tables())}) nor a "
            "file; give one of these names, or the path of a classes.yaml"
        )
    return read_classes(Path(name_or_path))


def numbered_classes(count: int) -> ClassTable:
    """A table for a checkpoint that names no classes: ``class 0`` and so on, in colors far apart."""
    return ClassTable(
        names=tuple(f"class {index}" for index in range(count)), colors=tuple(distinct_colors(count))
    )


def _cityscapes() -> ClassTable:
    scored = sorted(
        (label for label in _cityscapes_labels if 0 <= label.trainId < IGNORE),
        key=lambda label: label.trainId,
    )
    return ClassTable(
        names=tuple(label.name for label in scored),
        colors=tuple(label.color for label in scored),
        label_ids=tuple(label.id for label in scored),
        ignored_values=tuple(
            label.id for label in _cityscapes_labels if label.id >= 0 and not 0 <= label.trainId < IGNORE
        ),
    )


CITYSCAPES = _cityscapes()
"""The 19 scored classes of Cityscapes, from ``cityscapesscripts.helpers.labels``."""
