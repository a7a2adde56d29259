"""Each key of a configuration that a page names is one that there is."""

from __future__ import annotations

import re

import pytest
from documentation import PAGES, REPOSITORY
from pydantic import BaseModel

from danet_train.training.config import TrainConfig

SECTIONS = {name: field.default for name, field in TrainConfig.model_fields.items()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_key_with_its_section_is_one_that_the_configuration_has(page) -> None:
    for section, key in re.findall(r"`(\w+)\.(\w+)(?:[=:][^`]*)?`", page.read_text(encoding="utf-8")):
        if isinstance(SECTIONS.get(section), BaseModel):
            assert hasattr(SECTIONS[section], key), f"{section}.{key}"
