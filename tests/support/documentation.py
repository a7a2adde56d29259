"""The pages that users read, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted(
    [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    + [REPOSITORY / name / "README.md" for name in ("runtime", "train", "export", "calibration")]
    + list((REPOSITORY / "docs").rglob("*.md"))
)
_FENCED = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: Path of the page in the repository.
        line: Number of its first line.
        language: Behind the fence: ``sh``, ``python``, ``ini``, ...
        title: Its title; one that begins with ``Needs`` says what no machine of the tests has.
        text: What stands in it.
    """

    page: str
    line: int
    language: str
    title: str
    text: str

    @property
    def is_marked(self) -> bool:
        """Whether it says that it needs hardware or data that the tests have not."""
        return self.title.startswith("Needs ")

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """Each command in words, without comments; lines that are continued are one."""
        text = self.text.replace("\\\n", " ")
        if self.language == "ini":
            text = "\n".join(re.findall(r"^Exec\w+=(.*)$", text, re.MULTILINE))
        for line in text.splitlines():
            words: list[str] = []
            for word in [*shlex.split(line, comments=True), "&&"]:
                if word != "&&":
                    words.append(word)
                elif words:
                    yield words
                    words = []


def blocks(*languages: str) -> list[Block]:
    """All blocks in these languages, page by page."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for fence in _FENCED.finditer(text):
            if fence[1] in languages:
                title = re.search(r'title="(.*?)"', fence[2])
                line = text.count("\n", 0, fence.start()) + 1
                name = str(page.relative_to(REPOSITORY))
                found.append(Block(name, line, fence[1], title[1] if title else "", fence[3]))
    return found


def inline_commands() -> list[tuple[str, list[str]]]:
    """Each ``danet ...`` between backticks in a sentence, in words, with its page; it may be abridged."""
    found = []
    for page in PAGES:
        prose = _FENCED.sub("", page.read_text(encoding="utf-8"))
        for code in re.findall(r"(?<!`)`(danet [^`]+)`(?!`)", prose):
            found.append((str(page.relative_to(REPOSITORY)), " ".join(code.split()).split(" ")))
    return found
