"""What several commands say of the datasets that they take."""

from __future__ import annotations

DATA_HELP = (
    "Root of the dataset: Cityscapes, ADE20K (ADEChallengeData2016) or PASCAL VOC 2012 as downloaded, the "
    "last with SegmentationClassAug and aug.txt for its split train, or a folder of SPLIT/images (with "
    "subfolders), SPLIT/labels (PNGs of the same names) and classes.yaml."
)

CLASSES_HELP = "A classes.yaml, or the name of a table: cityscapes, camvid, ade20k, voc2012."
