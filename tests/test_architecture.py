"""Arrows point down only: a room imports rooms of lower layers, and modules of a room make no circle."""

import ast
import graphlib
import sys
from pathlib import Path

import pytest

import siren_jax

PACKAGE = Path(siren_jax.__file__).parent

# Rooms from the top down, and modules that are rooms by themselves. Those of one layer do not know one another.
LAYERS = (
    "__init__ __main__",
    "cli",
    "sets",
    "subjects",
    "equations",
    "neural_field",
    "display viewer",
    "plot",
    "fitting shapes",
    "files signals",
    "formats networks",
    "fields",
    "metrics references",
    "_types _versions errors",
)
# Packages of others that a room may import ("*": any). Python's own are free.
ARRAYS = "jax jaxtyping numpy"
OTHERS = {
    "__init__": "jaxlib",
    "__main__": "",
    "cli": "*",
    "sets": f"{ARRAYS} flax optax filelock h5py scipy",
    "subjects": f"{ARRAYS} flax scipy PIL matplotlib",
    "equations": f"{ARRAYS} flax scipy",
    "neural_field": f"{ARRAYS} flax",
    "viewer": "jaxtyping numpy matplotlib PIL",
    "display": f"{ARRAYS} matplotlib PIL skimage",
    "plot": "*",
    "fitting": f"{ARRAYS} flax optax filelock safetensors",
    "shapes": f"{ARRAYS} scipy skimage",
    "files": f"{ARRAYS} flax safetensors torch",
    "signals": f"{ARRAYS} scipy skimage PIL soundfile av",
    "formats": "jaxtyping numpy scipy PIL imagecodecs pillow_heif tifffile soundfile av trimesh",
    "networks": f"{ARRAYS} flax",
    "fields": ARRAYS,
    "references": "jaxtyping numpy scipy",
    "metrics": "jaxtyping numpy scipy",
    "_types": ARRAYS,
    "_versions": "",
    "errors": "",
}
HEAVY = {
    "PIL",
    "imagecodecs",
    "pillow_heif",
    "tifffile",
    "skimage",
    "soundfile",
    "av",
    "trimesh",
    "tensorboardX",
    "h5py",
    "torch",
}  # only inside a function
FLOOR = {room: number for number, layer in enumerate(LAYERS) for room in layer.split()}


def modules(package: Path) -> dict[str, ast.Module]:
    """Every module of a package by its dotted name within it; the package itself is ""."""
    trees = {}
    for path in sorted(package.rglob("*.py")):
        *folders, name = path.relative_to(package).with_suffix("").parts
        trees[".".join([*folders] if name == "__init__" else [*folders, name])] = ast.parse(path.read_text())
    return trees


def imports(name: str, tree: ast.AST, package: str, known: set[str]) -> set[tuple[str, bool]]:
    """What is imported: a module of the package, as `.name`, or one of others; and whether on loading."""
    inside = {id(node) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for node in ast.walk(f)}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} has a relative import"
            # `from package import module` imports the module, `from module import name` the module too
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            if target.split(".")[0] != package:
                found.add((target, id(node) not in inside))
                continue
            parts = target.split(".")[1:]
            while parts and ".".join(parts) not in known:
                parts.pop()
            found.add(("." + ".".join(parts), id(node) not in inside))
    return found


def violations(package: Path) -> list[str]:
    trees = modules(package)
    wrong, arrows = [], {}
    for name, tree in trees.items():
        room = name.split(".")[0] or "__init__"
        if room not in FLOOR:
            wrong.append(f"{name} is in no layer")
            continue
        for target, on_loading in imports(name, tree, package.name, set(trees)):
            top, dotted = target.split(".")[0], target[1:]
            if target.startswith("."):
                other = dotted.split(".")[0] or "__init__"
                if other == room:
                    arrows.setdefault(name, set()).add(dotted)
                elif FLOOR.get(other, 0) <= FLOOR[room]:
                    wrong.append(f"{name or package.name} imports {dotted or package.name}")
            elif target.startswith("__future__.annotations"):
                wrong.append(f"{name} blinds the type checker with __future__.annotations")
            elif target.startswith("jax._src"):
                wrong.append(f"{name} imports {target}, which is private")
            elif top not in sys.stdlib_module_names and OTHERS[room] != "*" and top not in OTHERS[room].split():
                wrong.append(f"{name} imports {top}")
            elif on_loading and top in HEAVY:
                wrong.append(f"{name} imports {top} outside a function")
    try:  # a room's __init__ imports its modules; these import each other, never the room
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        wrong.append(f"{' imports '.join(reversed(error.args[1]))}")
    return wrong


def test_every_import_of_the_package_is_allowed():
    assert violations(PACKAGE) == []


def test_every_room_exists_and_says_in_its_first_line_what_it_is():
    found = {name.split(".")[0] or "__init__" for name in modules(PACKAGE)}
    assert set(FLOOR) == set(OTHERS) == found
    for room in found:
        path = PACKAGE / room / "__init__.py"
        assert not path.parent.is_dir() or ast.get_docstring(ast.parse(path.read_text())), room


def test_no_module_bears_the_name_of_what_it_defines():
    for name, tree in modules(PACKAGE).items():
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert name.split(".")[-1] not in defined, name


def test_the_contributor_is_told_of_every_room():
    told = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    rooms = {f"`{name}/`" if (PACKAGE / name).is_dir() else f"`{name}`" for name in FLOOR if "__" not in name}
    parts = {f"`{name.split('.')[1]}`" for name in modules(PACKAGE) if "." in name}
    assert {name for name in rooms | parts if name not in told} == set()


@pytest.mark.parametrize(
    ("module", "line", "complaint"),
    [
        ("fields.operators", "from siren_jax.networks import SIREN", "fields.operators imports networks"),
        ("fields.operators", "from siren_jax import networks", "fields.operators imports networks"),
        ("fields.operators", "import siren_jax.networks.siren", "fields.operators imports networks.siren"),
        ("fields.operators", "def f():\n    import siren_jax.networks", "fields.operators imports networks"),
        ("fields.operators", "from siren_jax import SIREN", "fields.operators imports siren_jax"),
        ("networks.siren", "from siren_jax.fitting.descent import fit", "networks.siren imports fitting.descent"),
        ("networks.siren", "from siren_jax.formats import ply", "networks.siren imports formats.ply"),
        ("fields.tiles", "from siren_jax.fields.operators import f", "fields.operators imports fields.tiles imports"),
        ("fields.operators", "from flax import nnx", "fields.operators imports flax"),
        ("formats.ply", "import PIL.Image", "formats.ply imports PIL outside a function"),
        ("fields.tiles", "from jax._src import core", "fields.tiles imports jax._src.core, which is private"),
        ("fields.tiles", "import jax._src.core", "fields.tiles imports jax._src.core, which is private"),
        (
            "fields.tiles",
            "from __future__ import annotations",
            "fields.tiles blinds the type checker with __future__.annotations",
        ),
        ("utils", "", "utils is in no layer"),
    ],
)
def test_a_violation_is_found(module, line, complaint, tmp_path):
    package = tmp_path / "siren_jax"
    rooms = ("", "_types", "cli", "fields", "fitting", "formats", "networks")
    parts = ("fields.tiles", "fitting.descent", "formats.ply", "networks.siren")
    for name in (*rooms, *parts, module):
        path = package / (name.replace(".", "/") or ".")
        path = path / "__init__.py" if name in rooms and name != "_types" else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import math\n")
    (package / "fields" / "operators.py").write_text("from siren_jax.fields import tiles\n")
    assert violations(package) == ([complaint] if module == "utils" else [])
    changed = package / (module.replace(".", "/") + ".py")
    changed = changed if changed.exists() else package / module / "__init__.py"
    changed.write_text(line)
    found = violations(package)
    assert len(found) == 1
    assert found[0].startswith(complaint)
