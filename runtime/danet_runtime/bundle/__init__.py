"""The bundle: the contract between export, calibration and runtime."""

from danet_runtime.bundle.manifest import (
    IGNORE_LABEL,
    SCHEMA_VERSION,
    Accuracy,
    FileRef,
    FrameSpec,
    Golden,
    Kernel,
    Lowerings,
    Manifest,
    ModelSpec,
    Normalisation,
    Operator,
    Precision,
    Provenance,
    Quantisation,
    SegmentationClass,
    Variant,
    parse_manifest,
)
from danet_runtime.bundle.reader import MANIFEST_NAME, Bundle
from danet_runtime.bundle.writer import BundleWriter, write_bundle

__all__ = [
    "IGNORE_LABEL",
    "MANIFEST_NAME",
    "SCHEMA_VERSION",
    "Accuracy",
    "Bundle",
    "BundleWriter",
    "FileRef",
    "FrameSpec",
    "Golden",
    "Kernel",
    "Lowerings",
    "Manifest",
    "ModelSpec",
    "Normalisation",
    "Operator",
    "Precision",
    "Provenance",
    "Quantisation",
    "SegmentationClass",
    "Variant",
    "parse_manifest",
    "write_bundle",
]
