"""The stand-in for TensorRT, and the classes derived from TensorRT's, against the real bindings."""

from __future__ import annotations

from pathlib import Path

import pytest

STAND_IN = Path(__file__).parents[1] / "stand_in" / "tensorrt.py"
RELEASES = [
    "10.3.0",
    pytest.param("10.13.3.9", marks=pytest.mark.slow),
    pytest.param("10.16.1.11", marks=pytest.mark.slow),
    "11.4.0.106",
]


@pytest.mark.parametrize("version", RELEASES)
def test_the_stand_in_has_no_name_that_the_bindings_lack(with_bindings, version):
    found = with_bindings(version, "stand_in_answers.py", STAND_IN)
    # From 11 on networks are strongly typed without being told.
    assert found["missing"] == []
    assert {
        "Builder.build_serialized_network",
        "IExecutionContext.execute_async_v3",
        "ITimingCache.combine",
    } <= set(found["checked"])


@pytest.mark.parametrize("version", RELEASES)
def test_errors_and_messages_are_kept_by_subclasses_of_the_real_classes(with_bindings, version):
    answers = with_bindings(version, "recorder_answers.py")
    assert answers == {
        "fatal": False,
        "number": 1,
        "code": "INVALID_CONFIG",
        "text": "node the_add: wrong types",
        "overflowed": False,
        "cleared": 0,
        "errors": ["INTERNAL_ERROR", "ERROR"],
        "messages": ["INFO"],
    }
