"""Arrows point down only: every module imports what its row allows, and a module without a row is refused."""

import ast
import graphlib
import sys
from pathlib import Path

import pytest

import siren_jax

PACKAGE = Path(siren_jax.__file__).parent

# Module -> what it may import: modules of this package, then packages of others ("*": any). Python's own are free.
ARRAYS = "jax jaxtyping numpy"
ALLOWED = {
    "_types": ("", ARRAYS),
    "_versions": ("", ""),
    "errors": ("", ""),
    "sine": ("", ARRAYS),
    "initializers": ("_types", ARRAYS),
    "metrics": ("", "jaxtyping numpy scipy"),
    "raster": ("", "jaxtyping numpy"),
    "level_set": ("errors signals.mesh", "jaxtyping numpy skimage"),
    "operators": ("_types", ARRAYS),
    "expansion": ("_types errors operators", ARRAYS),
    "network": ("_types initializers sine", f"{ARRAYS} flax"),
    "objectives": ("_types operators", ARRAYS),
    "tiles": ("_types", ARRAYS),
    "step": ("_types errors tiles", f"{ARRAYS} flax optax"),
    "progress": ("errors", "flax jaxtyping numpy"),
    "recipes": ("", "jax optax"),
    "fit": ("_types checkpoints progress recipes resume step tiles", f"{ARRAYS} flax"),
    "refine": ("_types checkpoints fit progress recipes resume step tiles", f"{ARRAYS} flax optax"),
    "equations": (
        "equations.conditions equations.distillation equations.domains equations.problem equations.regions "
        "equations.solution equations.terms equations.unknowns",
        "",
    ),
    "equations.regions": ("equations.tracing errors", ARRAYS),
    "equations.domains": ("equations.regions errors", ARRAYS),
    "equations.sampling": ("equations.regions errors", f"{ARRAYS} scipy"),
    "equations.terms": ("_types equations.domains equations.sampling errors", ARRAYS),
    "equations.conditions": (
        "_types equations.domains equations.sampling equations.terms equations.unknowns errors operators",
        ARRAYS,
    ),
    "equations.catalogue": (
        "_types equations.conditions equations.domains equations.problem equations.terms equations.unknowns operators "
        "references",
        f"{ARRAYS} flax scipy",
    ),
    "equations.unknowns": ("_types errors operators", f"{ARRAYS} flax"),
    "equations.distillation": ("_types equations.domains equations.problem equations.terms fit", "flax jax"),
    "equations.comparison": ("_types equations.catalogue equations.solution signals.grid tiles", ARRAYS),
    "equations.solution": (
        "equations.domains equations.unknowns errors network neural_field signals.grid",
        "flax numpy",
    ),
    "equations.tracing": ("errors", ARRAYS),
    "equations.problem": (
        "_types equations.terms equations.tracing errors expansion fit refine",
        f"{ARRAYS} flax",
    ),
    "signals": (
        "signals.composite signals.files signals.grid signals.image signals.incomplete signals.mesh signals.nearest "
        "signals.pixels signals.placement signals.ranges signals.samples signals.scan signals.shape_files "
        "signals.sound signals.spectrum signals.surface signals.video",
        "",
    ),
    "signals.grid": ("errors", ARRAYS),
    "signals.integrals": ("signals.grid", ARRAYS),
    "signals.spectrum": ("errors signals.grid", "jaxtyping numpy"),
    "signals.ranges": ("", "jaxtyping numpy"),
    "signals.samples": ("errors signals.grid signals.ranges", ARRAYS),
    "signals.pixels": ("errors signals.integrals signals.samples", f"{ARRAYS} scipy"),
    "signals.poisson": ("", "jaxtyping numpy scipy"),
    "signals.walks": ("", f"{ARRAYS} scipy"),
    "signals.composite": ("errors signals.grid signals.poisson signals.ranges signals.samples signals.walks", ARRAYS),
    "signals.incomplete": ("errors signals.pixels signals.samples", f"{ARRAYS} scipy"),
    "signals.files": ("errors", "PIL av"),
    "signals.decoded": ("errors", "jaxtyping numpy"),
    "signals.colour_profiles": ("signals.decoded", "numpy imagecodecs PIL"),
    "signals.plain_pictures": ("errors signals.decoded", "numpy"),
    "signals.tiff_files": ("errors signals.colour_profiles signals.decoded", "jaxtyping numpy tifffile"),
    "signals.picture_files": (
        "errors signals.colour_profiles signals.decoded signals.files signals.plain_pictures signals.tiff_files",
        "numpy imagecodecs PIL pillow_heif",
    ),
    "signals.shrinking": ("errors signals.decoded", "jaxtyping numpy scipy skimage"),
    "signals.image": ("errors signals.picture_files signals.ranges signals.shrinking", ARRAYS),
    "signals.ffmpeg": ("errors", "av"),
    "signals.sound_files": ("errors signals.ffmpeg", "av jaxtyping numpy scipy soundfile"),
    "signals.sound": ("errors signals.files signals.sound_files", "jaxtyping numpy scipy soundfile"),
    "signals.mesh": ("", "jaxtyping numpy scipy"),
    "signals.placement": ("", "jaxtyping numpy"),
    "signals.orientation": ("signals.mesh", "jaxtyping numpy scipy"),
    "signals.surface": ("errors signals.mesh signals.placement signals.samples", f"{ARRAYS} scipy"),
    "signals.nearest": ("raster signals.mesh signals.surface", "jaxtyping numpy scipy"),
    "signals.polygons": ("", "jaxtyping numpy"),
    "signals.ply": ("signals.polygons", "jaxtyping numpy"),
    "signals.obj": ("signals.polygons", "numpy"),
    "signals.off": ("signals.polygons", "numpy"),
    "signals.glb": ("signals.polygons", "numpy trimesh"),
    "signals.three_mf": ("signals.polygons", "jaxtyping numpy"),
    "signals.shape_files": (
        "errors signals.files signals.glb signals.mesh signals.obj signals.off signals.ply signals.polygons "
        "signals.three_mf",
        "jaxtyping numpy",
    ),
    "signals.scan": (
        "errors signals.mesh signals.orientation signals.shape_files signals.surface",
        "jaxtyping numpy",
    ),
    "signals.video_files": ("errors signals.ffmpeg signals.image", "jaxtyping numpy PIL"),
    "signals.video": (
        "errors signals.ffmpeg signals.files signals.image signals.video_files",
        "jaxtyping numpy PIL av",
    ),
    "references": (
        "references.allen_cahn references.burgers references.helmholtz references.kovasznay references.wave",
        "",
    ),
    "references.allen_cahn": ("", "jaxtyping numpy scipy"),
    "references.burgers": ("", "jaxtyping numpy"),
    "references.helmholtz": ("", "jaxtyping numpy scipy"),
    "references.kovasznay": ("", "jaxtyping numpy"),
    "references.wave": ("", "jaxtyping numpy scipy"),
    "atomic": ("errors", ""),
    "checkpoints": ("atomic errors", "filelock numpy safetensors"),
    "resume": ("checkpoints errors progress", ARRAYS),
    "header": ("errors", "numpy"),
    "storage": ("atomic errors header network", f"{ARRAYS} flax safetensors"),
    "torch": ("errors network storage torch_state", f"{ARRAYS} flax"),
    "torch_state": ("atomic errors network storage", "numpy safetensors torch"),
    "neural_field": (
        "_types errors header level_set network operators signals.grid signals.mesh signals.placement storage tiles",
        f"{ARRAYS} flax",
    ),
    "plot": (
        "plot.colors plot.composite plot.curve plot.inpainting plot.layout plot.picture plot.shape plot.solution "
        "plot.sound plot.video",
        "",
    ),
    "plot.colors": ("", ""),
    "plot.curve": ("plot.colors", "*"),
    "plot.composite": ("plot.layout", "*"),
    "plot.inpainting": ("plot.layout", "*"),
    "plot.layout": ("", "*"),
    "plot.picture": ("plot.colors plot.layout", "*"),
    "plot.shape": ("raster", "*"),
    "plot.solution": ("", "*"),
    "plot.sound": ("plot.colors", "*"),
    "plot.video": ("", "*"),
}
FRONT = set(ALLOWED) - {"_types"}  # the command and the package itself may import everything public
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
    "torch",
}  # only inside a function


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
    wrong = []
    for name, tree in trees.items():
        front = name in ("", "__main__") or name.split(".")[0] == "cli"
        if not front and name not in ALLOWED:
            wrong.append(f"{name} has no row in the table")
            continue
        ours, others = (" ".join(FRONT), "*") if front else ALLOWED[name]
        for target, on_loading in imports(name, tree, package.name, set(trees)):
            top, dotted = target.split(".")[0], target[1:]
            if target.startswith("."):
                if dotted not in ours.split() and not (front and dotted.split(".")[0] == "cli"):
                    wrong.append(f"{name or package.name} imports {dotted or package.name}")
            elif target.startswith("__future__.annotations"):
                wrong.append(f"{name} blinds the type checker with __future__.annotations")
            elif target.startswith("jax._src"):
                wrong.append(f"{name} imports {target}, which is private")
            elif top not in sys.stdlib_module_names and others != "*" and top not in others.split():
                wrong.append(f"{name} imports {top}")
            elif on_loading and top in HEAVY:
                wrong.append(f"{name} imports {top} outside a function")
    return wrong


def test_every_import_of_the_package_is_allowed():
    assert violations(PACKAGE) == []


def test_every_row_of_the_table_is_a_module():
    assert set(ALLOWED) <= set(modules(PACKAGE))


def test_the_contributor_is_told_of_every_room():
    told = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    rooms = {f"`{name}/`" if (PACKAGE / name).is_dir() else f"`{name}`" for name in {n.split(".")[0] for n in FRONT}}
    parts = {f"`{name.split('.')[1]}`" for name in FRONT if name.startswith(("signals.", "equations."))}
    assert {name for name in rooms | parts if name not in told} == set()


def test_the_table_has_no_circles():
    # A package folder may import its parts; its parts import each other, never the folder.
    graphlib.TopologicalSorter({name: ours.split() for name, (ours, _) in ALLOWED.items()}).prepare()


@pytest.mark.parametrize(
    ("module", "line", "complaint"),
    [
        ("operators", "from siren_jax.network import SIREN", "operators imports network"),
        ("operators", "from siren_jax import network", "operators imports network"),
        ("operators", "import siren_jax.network", "operators imports network"),
        ("operators", "def f():\n    from siren_jax.network import SIREN", "operators imports network"),
        ("operators", "from siren_jax import SIREN", "operators imports siren_jax"),
        ("network", "from siren_jax.fit import fit", "network imports fit"),
        ("signals.grid", "from siren_jax.signals.image import load_image", "signals.grid imports signals.image"),
        ("cli", "from siren_jax._types import Field", "cli imports _types"),
        ("operators", "from flax import nnx", "operators imports flax"),
        ("signals.picture_files", "import PIL.Image", "signals.picture_files imports PIL outside a function"),
        ("sine", "from jax._src import core", "sine imports jax._src.core, which is private"),
        ("sine", "import jax._src.core", "sine imports jax._src.core, which is private"),
        ("sine", "from __future__ import annotations", "sine blinds the type checker with __future__.annotations"),
        ("utils", "", "utils has no row in the table"),
    ],
)
def test_a_violation_is_found(module, line, complaint, tmp_path):
    package = tmp_path / "siren_jax"
    for name in {
        "",
        "_types",
        "cli",
        "fit",
        "network",
        "operators",
        "signals.grid",
        "signals.image",
        "signals.picture_files",
        module,
    }:
        path = package / (name.replace(".", "/") or ".")
        path = path / "__init__.py" if name in ("", "cli") else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("import math\n")
    assert violations(package) == ([complaint] if module == "utils" else [])
    changed = next(
        p for p in (package / (module.replace(".", "/") + end) for end in (".py", "/__init__.py")) if p.exists()
    )
    changed.write_text(line)
    assert violations(package) == [complaint]
