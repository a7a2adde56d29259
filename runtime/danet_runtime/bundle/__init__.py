"""The bundle: the contract between export, calibration and runtime."""

from danet_runtime.bundle.folder import MANIFEST_NAME, SIGNATURE_NAME
from danet_runtime.bundle.manifest import (
    IGNORE_LABEL,
    SCHEMA_VERSION,
    Accuracy,
    CalibrationFrame,
    FileRef,
    FloatingLayer,
    FrameSpec,
    Golden,
    GoldenOrigin,
    Kernel,
    Lowerings,
    Manifest,
    ModelSpec,
    Normalisation,
    Precision,
    Provenance,
    Quantisation,
    SegmentationClass,
    Variant,
    parse_manifest,
)
from danet_runtime.bundle.operators import Operator
from danet_runtime.bundle.reader import Bundle
from danet_runtime.bundle.signature import PublicKey, SigningKey, read_public_key, read_signing_key
from danet_runtime.bundle.verification import Verdict, sign_bundle, verify_bundle
from danet_runtime.bundle.writer import BundleWriter, write_bundle

__all__ = [
    "IGNORE_LABEL",
    "MANIFEST_NAME",
    "SCHEMA_VERSION",
    "SIGNATURE_NAME",
    "Accuracy",
    "Bundle",
    "BundleWriter",
    "CalibrationFrame",
    "FileRef",
    "FloatingLayer",
    "FrameSpec",
    "Golden",
    "GoldenOrigin",
    "Kernel",
    "Lowerings",
    "Manifest",
    "ModelSpec",
    "Normalisation",
    "Operator",
    "Precision",
    "Provenance",
    "PublicKey",
    "Quantisation",
    "SegmentationClass",
    "SigningKey",
    "Variant",
    "Verdict",
    "parse_manifest",
    "read_public_key",
    "read_signing_key",
    "sign_bundle",
    "verify_bundle",
    "write_bundle",
]
