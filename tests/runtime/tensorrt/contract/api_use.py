"""Compare what danet_runtime.tensorrt uses of TensorRT with what the bindings in this process have.

Read from the source: every chain of names on ``trt`` and on ``trtp`` (``tensorrt.plugin``), through plain
aliases; every attribute of a variable that holds one of TensorRT's objects (told by its name, ``OBJECTS``);
the number and names of the arguments of calls; and the methods that classes derived from TensorRT's override.

    python api_use.py BINDINGS [FILE.py ...]   prints JSON; without files, every module that says that
                                               it serves this release (its SERVES) is read
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
import types
from pathlib import Path

OBJECTS = {
    "registry": "IPluginRegistry",
    "expr_builder": "IExprBuilder",
    "tensor_desc": "PluginTensorDesc",
    "field": "PluginField",
    "probe": "PluginField",
    "dims": "DimsExprs",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "problem": "ParserError",
    "timing_cache": "ITimingCache",
    "runtime_config": "IRuntimeConfig",
    "runtime_cache": "IRuntimeCache",
}
OVERLOAD = re.compile(r"^(?:\d+\. )?\w+\((.*)\)(?: ->.*)?$", re.MULTILINE)


class Uses(ast.NodeVisitor):
    """Looks every use up and keeps what is missing."""

    def __init__(self, origin: str, roots: dict[str, object]) -> None:
        self.origin = origin
        self.roots = dict(roots)
        self.missing: list[str] = []
        self.checked: set[str] = set()

    def resolve(self, node: ast.expr) -> tuple[str, object] | None:
        """The name and the object of a chain on TensorRT; ``None`` for any other expression."""
        if isinstance(node, ast.Name):
            if node.id in self.roots:
                return node.id, self.roots[node.id]
            return None
        if not isinstance(node, ast.Attribute):
            return None
        if isinstance(node.value, ast.Name) and node.value.id == "self" and node.attr in ("_trt", "_trtp"):
            return node.attr[1:], self.roots[node.attr[1:]]
        base = self.resolve(node.value)
        if base is None or base[1] is UNKNOWN:
            return base
        name = f"{base[0]}.{node.attr}"
        self.checked.add(name)
        if hasattr(base[1], node.attr):
            return name, getattr(base[1], node.attr)
        self.missing.append(f"{self.origin}:{node.lineno}: {name}")
        return name, UNKNOWN

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self.resolve(node) is None:
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        found = self.resolve(node.value) if isinstance(node.value, ast.Attribute) else None
        target = node.targets[0]
        if found and isinstance(target, ast.Name) and target.id not in ("trt", "trtp"):
            self.roots[target.id] = found[1]
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        found = self.resolve(node.func)
        starred = any(isinstance(argument, ast.Starred) for argument in node.args)
        known = found is not None and found[1] is not UNKNOWN and found[0] not in OBJECTS
        if found and known and not starred and None not in [k.arg for k in node.keywords]:
            keywords = [str(keyword.arg) for keyword in node.keywords]
            problem = refuses(found[1], len(node.args), keywords)
            if problem:
                self.missing.append(f"{self.origin}:{node.lineno}: {found[0]}() {problem}")
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases = [found[1] for base in node.bases if (found := self.resolve(base))]
        bases = [base for base in bases if inspect.isclass(base)]
        for method in node.body if bases else []:
            if not isinstance(method, ast.FunctionDef) or method.name.startswith("_"):
                continue
            name = f"{node.name}.{method.name}"
            owner = next((base for base in bases if hasattr(base, method.name)), None)
            self.checked.add(name)
            if owner is None:
                self.missing.append(f"{self.origin}:{method.lineno}: {name} overrides nothing of its bases")
            elif problem := refuses(getattr(owner, method.name), len(method.args.args), []):
                self.missing.append(f"{self.origin}:{method.lineno}: {name} {problem}")
        self.generic_visit(node)


UNKNOWN = object()


def refuses(target: object, positional: int, keywords: list[str]) -> str | None:
    """Why a call with so many arguments fails; ``None`` if it does not, or nothing is known of it."""
    if inspect.isfunction(target) or (
        inspect.isclass(target) and "__init__" in vars(target) and inspect.isfunction(target.__init__)
    ):
        try:
            inspect.signature(target).bind(*[None] * positional, **dict.fromkeys(keywords))
        except TypeError as error:
            return f"expects {inspect.signature(target)}: {error}"
        return None
    documented = (target.__init__ if inspect.isclass(target) else target).__doc__ or ""
    signatures = [text for text in OVERLOAD.findall(documented) if text != "*args, **kwargs"]
    own = 1 if inspect.isclass(target) else 0
    bound = [split(text) for text in signatures]
    if not bound:
        return None
    for parameters in bound:
        names = [parameter.partition(":")[0].partition("=")[0].strip() for parameter in parameters]
        is_method = own or (names[:1] == ["self"] and positional < len(names))
        # A method is called without self; one that overrides it declares self too.
        for skip in {1 if is_method else 0, 0}:
            offered = parameters[skip:]
            required = sum("=" not in parameter for parameter in offered)
            given = positional + len(keywords)
            fits = positional <= len(offered) and required <= given
            if fits and set(keywords) <= set(names[skip + positional :]):
                return None
    return f"is called with {positional} and {keywords}, but takes {' or '.join(signatures)}"


def split(parameters: str) -> list[str]:
    """Split at the commas that stand in no bracket."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(parameters):
        depth += (character in "[(<") - (character in "])>")
        if character == "," and depth == 0:
            parts.append(parameters[start:index].strip())
            start = index + 1
    last = parameters[start:].strip()
    return [*parts, last] if last else parts


def main(bindings: str, files: list[str]) -> None:
    trt = importlib.import_module(bindings)
    if bindings == "tensorrt_bindings":
        sys.modules["tensorrt"] = trt
    import danet_runtime.tensorrt
    from danet_runtime.tensorrt.build.library import library_of

    library = library_of(trt)
    folder = Path(danet_runtime.tensorrt.__file__).parent
    roots: dict[str, object] = {
        "trt": trt,
        **{variable: getattr(trt, name) for variable, name in OBJECTS.items() if hasattr(trt, name)},
    }
    has_plugin_module = library.flavour == "tensorrt" and library.version >= (10, 6)
    # Where there is no such module, every use of it is missing.
    roots["trtp"] = (
        importlib.import_module(f"{bindings}.plugin") if has_plugin_module else types.ModuleType("trtp")
    )
    answer: dict[str, object] = {"version": trt.__version__}
    read, undeclared, missing, checked = [], [], [], set()
    for file in [Path(name) for name in files] or sorted(folder.rglob("*.py")):
        name = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name
        text = file.read_text(encoding="utf-8")
        if not files:
            module = ".".join(("danet_runtime.tensorrt", *name.removesuffix(".py").split("/")))
            serves = getattr(importlib.import_module(module), "SERVES", None)
            if serves is None and re.search(r"\btrtp?\.[A-Za-z]", text):
                undeclared.append(name)
            served = serves if isinstance(serves, tuple) else (serves,) if serves else ()
            if not any(s.flavour == library.flavour and s.includes(library.version) for s in served):
                continue
        uses = Uses(name, roots)
        uses.visit(ast.parse(text))
        read.append(name)
        missing += dict.fromkeys(uses.missing)
        checked |= uses.checked
    answer |= {"read": read, "undeclared": undeclared, "missing": missing, "checked": sorted(checked)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
