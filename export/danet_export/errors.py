"""Errors of the export, part of the runtime's tree.

ExportError          the model cannot be exported as asked
└── ParityError      the exported model does not do what the PyTorch model does
"""

from __future__ import annotations

from danet_runtime.errors import DanetError


class ExportError(DanetError):
    """The model cannot be exported as asked."""


class ParityError(ExportError):
    """The exported model does not do what the PyTorch model does."""
