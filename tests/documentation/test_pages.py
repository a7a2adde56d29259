"""The pages are short enough and reachable, load nothing from elsewhere, and are built without a warning."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from documentation import PAGES, REPOSITORY

LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def test_the_readme_is_read_in_one_go() -> None:
    assert len((REPOSITORY / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_readme_leads_to_every_page_and_the_menu_has_each() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    menu = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    for page in (REPOSITORY / "docs").rglob("*.md"):
        name = str(page.relative_to(REPOSITORY / "docs"))
        assert f": {name}\n" in menu
        assert f"](docs/{name}" in readme or name == "index.md" or name.startswith("reference/"), name


@pytest.mark.parametrize("package", ["runtime", "train", "export", "calibration"])
def test_the_reference_holds_every_public_name(package: str) -> None:
    page = (REPOSITORY / "docs" / "reference" / f"{package}.md").read_text(encoding="utf-8")
    listed = re.findall(rf"^::: danet_{package}\.(\w+)$", page, re.MULTILINE)
    assert sorted(listed) == sorted(importlib.import_module(f"danet_{package}").__all__)


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("mkdocs"), reason="mkdocs is not installed")
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    loaded = re.compile(r"<(?:script|link|img|iframe)[^>]*?(?:src|href)=\"?((?:https?:)?//[^\"\s>]+)")
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        assert loaded.findall(page.read_text(encoding="utf-8")) == [], page
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?://", sheet.read_text(encoding="utf-8")), sheet


def test_the_menu_is_a_file_of_plain_yaml() -> None:
    settings = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["theme"]["font"] is False
