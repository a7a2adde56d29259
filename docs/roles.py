"""Docstrings name other things as Sphinx does, :class:`Name`; on these pages the name alone is shown."""

import re

_ROLE = re.compile(r":(?:attr|class|const|data|exc|func|meth|mod|obj):(?=<code>|`)")


def on_page_content(html: str, **_: object) -> str:
    """Take the roles off a page, and the two colons before a literal block."""
    return _ROLE.sub("", html).replace("<p>::</p>", "").replace("::</p>", ":</p>")
