"""What a library defines, read from its source: functions, classes, methods, and operations that are registered with torch."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import Parameter, Signature

from .library import Library
from .schemas import parsed


def signature(library: Library, module: str, name: str) -> Signature | None:
    """The signature of a function, a class or a method, without `self`; None where the library does not define it."""
    if module.startswith("torch.ops."):
        found = library.schema(name)
        return parsed(found) if found is not None else None
    owner, _, method = name.partition(".")
    definition = _defined(library, module, owner, set())
    if definition is None:
        return None
    if isinstance(definition.node, ast.ClassDef):
        return _method(library, definition, method or "__init__")
    return _read(definition.node.args) if isinstance(definition.node, ast.FunctionDef) and not method else None


def defines(library: Library, module: str, name: str) -> bool:
    """Whether a module of the library has that name: a function, a class, or a value."""
    if module.startswith("torch.ops."):
        return library.schema(name) is not None
    return _defined(library, module, name.partition(".")[0], set()) is not None


@dataclass(frozen=True)
class _Found:
    """A definition, and the module that it stands in."""

    module: str
    node: ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def _defined(library: Library, module: str, name: str, seen: set[tuple[str, str]]) -> _Found | None:
    """The definition of a name of a module, its own or through the imports that lead to it; failing both, an assignment."""
    tree, package = _tree(library, module)
    if tree is None or (module, name) in seen:
        return None
    seen.add((module, name))
    statements = list(_top(tree))
    own = [node for node in statements if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name]
    for node in reversed(own):
        # Of overloads, the last one is the function itself.
        if not _overload(node):
            return _Found(module, node)
    for statement in statements:
        found = _imported(library, statement, package, name, seen) if isinstance(statement, ast.ImportFrom) else None
        if found is not None:
            return found
    # Last, since `name = None` is what an import that fails leaves behind.
    for statement in statements:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and name in _assigned(statement):
            return _Found(module, statement)
    return None


def _imported(library: Library, node: ast.ImportFrom, package: str, name: str, seen: set[tuple[str, str]]) -> _Found | None:
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1] if node.level else []
    source = ".".join([*base, *([node.module] if node.module else [])])
    for alias in node.names:
        if alias.name == "*" or name == (alias.asname or alias.name):
            found = _defined(library, source, name if alias.name == "*" else alias.name, seen)
            if found is not None:
                return found
    return None


def _assigned(node: ast.Assign | ast.AnnAssign) -> list[str]:
    """The names that a statement gives a value to."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _tree(library: Library, module: str) -> tuple[ast.Module | None, str]:
    """A module of the library, and the package that its relative imports begin at."""
    path = module.replace(".", "/")
    for file, package in ((f"{path}/__init__.py", module), (f"{path}.py", module.rpartition(".")[0])):
        text = library.text(file)
        if text is not None:
            return ast.parse(text), package
    return None, ""


def _top(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements of a module, those inside of `if` and `try` among them."""
    waiting: list[ast.stmt] = list(reversed(tree.body))
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            parts = [*node.body, *getattr(node, "orelse", ()), *getattr(node, "finalbody", ())]
            parts += [inner for handler in getattr(node, "handlers", ()) for inner in handler.body]
            waiting += reversed(parts)


def _overload(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return any(ast.unparse(decorator).endswith("overload") for decorator in node.decorator_list)


def _method(library: Library, cls: _Found, name: str) -> Signature | None:
    """A method of a class or of the first of its bases that has it; `__init__` of a class without one takes nothing."""
    assert isinstance(cls.node, ast.ClassDef)
    methods = [node for node in cls.node.body if isinstance(node, ast.FunctionDef) and node.name == name and not _overload(node)]
    if methods:
        static = any(ast.unparse(decorator) == "staticmethod" for decorator in methods[-1].decorator_list)
        return _read(methods[-1].args, skip=0 if static else 1)
    for base in cls.node.bases:
        found = _defined(library, cls.module, ast.unparse(base), set())
        if found is not None and isinstance(found.node, ast.ClassDef):
            return _method(library, found, name)
    return Signature() if name == "__init__" else None


def _read(args: ast.arguments, skip: int = 0) -> Signature:
    places = [*args.posonlyargs, *args.args]
    first = len(places) - len(args.defaults)
    parameters = [
        Parameter(
            one.arg,
            Parameter.POSITIONAL_ONLY if number < len(args.posonlyargs) else Parameter.POSITIONAL_OR_KEYWORD,
            default=None if number >= first else Parameter.empty,
        )
        for number, one in enumerate(places)
    ][skip:]
    if args.vararg:
        parameters.append(Parameter(args.vararg.arg, Parameter.VAR_POSITIONAL))
    for one, value in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        parameters.append(Parameter(one.arg, Parameter.KEYWORD_ONLY, default=Parameter.empty if value is None else None))
    if args.kwarg:
        parameters.append(Parameter(args.kwarg.arg, Parameter.VAR_KEYWORD))
    return Signature(parameters)
