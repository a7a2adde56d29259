"""The scripts for a GPU, imported where a test asks for one: some need Triton when they are imported."""

import importlib

import pytest


@pytest.fixture
def load():
    """Import a script by its name."""
    return lambda name: importlib.import_module(f"benchmarks.gpu.{name}")
