"""Kernels in Triton's interpreter, on CPU tensors.

A kernel decorated under TRITON_INTERPRET=1 cannot be compiled in the same process, so these tests are
collected only in a process that was started for them (tests/export/kernels/test_arithmetic.py).
"""

import os

import numpy as np
import pytest

if os.environ.get("TRITON_INTERPRET") != "1":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def products_of_bfloat16():
    """The interpreter (Triton 3.9) holds BF16 as 16-bit words, and multiplies these: widen them first."""
    from triton import language as tl
    from triton.runtime import interpreter

    def widened(handle):
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        bits = handle.data.astype(np.uint32) << 16
        return interpreter.TensorHandle(bits.view(np.float32), tl.float32)

    def create_dot(self, a, b, *rest):
        return original(self, widened(a), widened(b), *rest)

    original = interpreter.InterpreterBuilder.create_dot
    interpreter.InterpreterBuilder.create_dot = create_dot
    yield
    interpreter.InterpreterBuilder.create_dot = original
