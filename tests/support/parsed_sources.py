"""Sources as syntax trees, each parsed once in a process however many tests read it."""

import ast
from functools import cache


@cache
def parsed(source: str) -> ast.Module:
    """The tree of a source; shared, so nobody changes it."""
    return ast.parse(source)


@cache
def nodes_of_source(source: str) -> tuple[ast.AST, ...]:
    """Every node of a source's tree, as ``ast.walk`` gives them."""
    return tuple(ast.walk(parsed(source)))
