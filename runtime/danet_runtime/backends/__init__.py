"""Backends by name, behind the protocol of :mod:`danet_runtime.backends.base`."""

from __future__ import annotations

from danet_runtime.backends.registry import BACKENDS, open_backend

__all__ = ["BACKENDS", "open_backend"]
