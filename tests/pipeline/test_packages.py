"""What the four packages say of themselves; `make packages` builds them and has twine check them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("runtime", "train", "export", "calibration")


def stated(package: str) -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / package / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_brings_the_licence_and_a_readme_of_its_own(package: str) -> None:
    project = stated(package)
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    licence = (REPOSITORY / package / "LICENSE").read_text(encoding="utf-8")
    assert licence == (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    readme = (REPOSITORY / package / project["readme"]).read_text(encoding="utf-8")
    assert len(readme) > 200
    assert "](docs/" not in readme, "an index shows it without the pages beside it"


def test_all_are_of_one_version_and_say_what_they_are_in_the_same_words() -> None:
    for key in ("version", "classifiers", "keywords", "urls"):
        assert len({str(stated(package)[key]) for package in PACKAGES}) == 1, key
    assert not any(
        "License ::" in classifier for classifier in stated("runtime")["classifiers"]
    )  # the field says it
