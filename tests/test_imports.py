"""Imports point one way: folders import only from lower layers, without circles."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import sds3d

PACKAGE = Path(sds3d.__file__).parent
LAYERS = [  # each may import those above it
    {"errors", "files", "adam", "cameras", "stopwatch"},
    {"config", "interfaces"},
    {"native", "imaging", "runs"},
    {"representations", "distillation", "mesh", "procedural"},
    {"renderers", "priors"},
    {"optimization", "finish", "preflight", "evaluation"},
    {"pipeline"},
    {"batch", "viewer"},
    {"cli"},
]
SAME_LAYER = {("files", "errors"), ("procedural", "mesh")}  # within a layer
ENTRY = {("__init__", "renderers"), ("__main__", "cli")}  # sds3d.rasterize, python -m sds3d
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports(module: str, inside_functions: bool) -> Iterator[str]:
    """The modules of the package that `module` imports, except those only for type hints."""
    waiting: list[ast.AST] = [ast.parse(MODULES[module].read_bytes())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            names = [f"{node.module}.{name.name}" for name in node.names]
            yield from (name if name in MODULES else node.module or "" for name in names)
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def folder(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def layer(name: str) -> int:
    assert name in set.union(*LAYERS), f"{name}: LAYERS does not say what it may import"
    return next(index for index, names in enumerate(LAYERS) if name in names)


def test_a_folder_imports_only_from_lower_layers() -> None:
    pairs = {(module, other) for module in MODULES for other in imports(module, True) if other in MODULES}
    across = {(folder(a), folder(b)): f"{a} imports {b}" for a, b in pairs if folder(a) != folder(b) != "__init__"}
    upward = {pair for pair in across.keys() - SAME_LAYER - ENTRY if layer(pair[0]) <= layer(pair[1])}
    assert not {across[pair] for pair in upward}


def test_there_are_no_circular_imports() -> None:
    """Only top-level imports count. Importing a module also imports its parent packages."""
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        needed = {other for other in imports(module, False) if other in MODULES}
        packages = {".".join(other.split(".")[:end]) for other in needed for end in range(1, other.count(".") + 1)}
        graph[module] = {name for name in needed | packages if not f"{module}.".startswith(f"{name}.")}
    TopologicalSorter(graph).prepare()


def test_there_are_no_circular_imports_inside_functions() -> None:
    """The __init__ of a package may re-export from its files, so packages are left out here."""
    graph = {module: {*imports(module, True)} & MODULES.keys() - {module} for module in MODULES}
    packages = {module for module, path in MODULES.items() if path.name == "__init__.py"}
    TopologicalSorter({module: others - packages for module, others in graph.items()}).prepare()


def test_the_package_has_at_most_its_limit_of_entries() -> None:
    names = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.name[0] != "_"}
    assert len(names) <= 26
    assert names <= set.union(*LAYERS)
