"""The calls that a provider makes into libraries, read from its source."""

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

#: Not libraries of kernels.
_AROUND = {*sys.stdlib_module_names, "torch", "numpy", "triton", "pytest_dsbench"}
_OPS = ["torch", "ops"]


@dataclass(frozen=True)
class Call:
    """One function of a library, and how it is called."""

    #: dotted module, such as "flashinfer.rope"; "torch.ops.sgl_kernel" for an operation that is registered with torch
    module: str
    #: function, class, or "Class.method"
    name: str
    #: values by place and by name; None where the function is only named, such as a class whose constants are used
    positional: int | None = None
    keywords: tuple[str, ...] = ()
    #: `path:line` of the call
    where: str = ""

    @property
    def title(self) -> str:
        """module.name."""
        return f"{self.module}.{self.name}"

    @property
    def package(self) -> str:
        """The top package it is imported from."""
        return self.module.removeprefix("torch.ops.").partition(".")[0]


def calls(function: Callable[..., Any]) -> tuple[Call, ...]:
    """Every call into a library that `function` makes, itself or in the functions of this project that it calls.

    Followed are names bound by an import, by the construction of a library's class, and by assignment of such a name. What is
    only imported comes as a Call without values: it must be there, too.
    """
    path, line = Path(function.__code__.co_filename), function.__code__.co_firstlineno
    found: dict[Call, None] = {}
    for node in _module(path).body:
        # A decorated function begins at its first decorator. Its name may be taken more than once: `_`, as a rule.
        if isinstance(node, ast.FunctionDef) and line in (node.lineno, *(one.lineno for one in node.decorator_list[:1])):
            _visit(path, node, found, set())
    return tuple(found)


@dataclass
class _Names:
    """What the names in a function stand for."""

    #: imported from a library: module and name; an imported module has no name
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: holds an instance of a library's class
    instances: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: function of this project, in which file
    ours: dict[str, tuple[Path, str]] = field(default_factory=dict)


@cache
def _module(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


_Definition = ast.FunctionDef | ast.ClassDef


def _definition(path: Path, name: str) -> _Definition | None:
    return next((node for node in _module(path).body if isinstance(node, _Definition) and node.name == name), None)


def _visit(path: Path, body: _Definition, found: dict[Call, None], seen: set[_Definition]) -> None:
    """Collects the calls of one function, or class, of the file at `path`, and of those of ours that it calls."""
    if body in seen:
        return
    seen.add(body)
    names = _Names()
    # The module's own imports and functions first, so that those of the function take precedence.
    for statement in _module(path).body:
        if isinstance(statement, _Definition):
            names.ours[statement.name] = (path, statement.name)
        else:
            _bind(statement, path, names)
    for node in _in_order(body):
        _bind(node, path, names)
        if not isinstance(node, ast.Call):
            continue
        target = _target(node.func, names)
        if target is not None:
            found[_call(node, target, path)] = None
        elif isinstance(node.func, ast.Name) and node.func.id in names.ours:
            file, name = names.ours[node.func.id]
            inner = _definition(file, name)
            if inner is not None:
                _visit(file, inner, found, seen)
    for module, imported in names.imported.values():
        if imported and not any((one.module, one.name) == (module, imported) for one in found):
            found[Call(module, imported)] = None


def _in_order(root: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `root`, as they stand in the text: names are bound before they are used."""
    for child in ast.iter_child_nodes(root):
        # What is assigned is looked at before the name it is assigned to counts.
        yield from _in_order(child)
        yield child


def _bind(node: ast.AST, path: Path, names: _Names) -> None:
    match node:
        case ast.ImportFrom(module=str() as module, level=0) if module.partition(".")[0] not in _AROUND:
            for alias in node.names:
                names.imported[alias.asname or alias.name] = (module, alias.name)
        case ast.ImportFrom(level=level) if level:
            file = _relative(path, level, node.module)
            for alias in node.names:
                names.ours[alias.asname or alias.name] = (file, alias.name)
        case ast.Import():
            for alias in node.names:
                top = alias.name.partition(".")[0]
                if top not in _AROUND:
                    names.imported[alias.asname or top] = (alias.name if alias.asname else top, "")
        case ast.Assign(targets=[target], value=value):
            for name, part in _pairs(target, value):
                _assign(name, part, names)


def _relative(path: Path, level: int, module: str | None) -> Path:
    folder = path.parents[level - 1].joinpath(*(module or "__init__").split("."))
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Names and what is assigned to each: `a, b = f, g` are two."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for one, part in zip(target.elts, value.elts, strict=True):
            yield from _pairs(one, part)


def _assign(name: str, value: ast.expr, names: _Names) -> None:
    if isinstance(value, ast.IfExp):
        # The other one must be there; only a call by its own name says how it is called.
        value = value.body
    if isinstance(value, ast.Call):
        target = _target(value.func, names)
        # Of a library, what begins with a capital is a class.
        if target is not None and target[1][:1].isupper() and "." not in target[1]:
            names.instances[name] = target
        return
    target = _target(value, names)
    if target is not None:
        names.imported[name] = target


def _target(node: ast.expr, names: _Names) -> tuple[str, str] | None:
    """The library function that an expression names: module and name."""
    parts = _dotted(node)
    if parts[:2] == _OPS and len(parts) >= 4:
        return f"torch.ops.{parts[2]}", parts[3]
    if not parts:
        return None
    first, *rest = parts
    if first in names.instances and len(rest) == 1:
        module, name = names.instances[first]
        return module, f"{name}.{rest[0]}"
    if first not in names.imported:
        return None
    module, name = names.imported[first]
    if module.startswith("torch.ops."):
        return (module, name) if not rest else None
    if name:
        return (module, name) if not rest else None
    # An imported module: the last part is the function.
    return (".".join([module, *rest[:-1]]), rest[-1]) if rest else None


def _dotted(node: ast.expr) -> list[str]:
    """a.b.c as its parts; empty for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        parts = _dotted(node.value)
        return [*parts, node.attr] if parts else []
    return []


def _call(node: ast.Call, target: tuple[str, str], path: Path) -> Call:
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            raise ValueError(f"{path}:{node.lineno}: a call into a library with *arguments cannot be read")
    if any(keyword.arg is None for keyword in node.keywords):
        raise ValueError(f"{path}:{node.lineno}: a call into a library with **arguments cannot be read")
    keywords = tuple(keyword.arg for keyword in node.keywords if keyword.arg is not None)
    return Call(*target, len(node.args), keywords, f"{path.name}:{node.lineno}")
