"""The walls of the house: what may import what, what a file may hold, and that errors are told and mapped."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from icm import errors
from icm.rpc import status

ROOT = Path(__file__).parent.parent
MAX_LINES = 400
MAX_MODULES = 12

PACKAGES = {
    "icm": ROOT / "shared/icm",
    "edge_service": ROOT / "edge_service",
    "cloud_service": ROOT / "cloud_service",
    "icm_train": ROOT / "training/icm_train",
    "icm_bench": ROOT / "benchmarks/icm_bench",
    "deploy": ROOT / "deploy",
}
GENERATED = ROOT / "shared/icm/v1"
STEPS = ROOT / "cloud_service/database/migrations/versions"
"""One file a step of the schema, which are more with every release, and which nobody reads as a room."""

# Which of the project's own packages each may import.
MAY_IMPORT = {
    "icm": set[str](),
    "edge_service": {"icm"},
    "cloud_service": {"icm"},
    "icm_train": {"icm"},
    "deploy": {"icm"},
    "icm_bench": {"icm", "edge_service", "cloud_service", "icm_train"},
}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def tracked() -> list[Path]:
    """Files that git knows or would add, so that a new file is held to the rules before it is committed."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    return [path for name in sorted(listed.stdout.split("\0")) if name and (path := ROOT / name).is_file()]


def sources(package: str) -> list[Path]:
    folder = PACKAGES.get(package, ROOT / package)
    return [path for path in tracked() if path.suffix == ".py" and path.is_relative_to(folder)]


def imports(path: Path, at_start_only: bool = False) -> Iterator[str]:
    """Dotted names that a file imports; with ``at_start_only`` none of those inside functions or for types alone."""
    tree = parsed(path)
    for node in _at_start(tree.body) if at_start_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(path, node)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _at_start(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        for block in ("body", "orelse", "finalbody"):
            yield from _at_start(getattr(node, block, []))
        for handler in getattr(node, "handlers", []):
            yield from _at_start(handler.body)


def _absolute(path: Path, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module_name(path).split(".")[: -node.level]
    return ".".join([*package, *([node.module] if node.module else [])])


def module_name(path: Path) -> str:
    """The dotted name of a file's module; a package's is that of its folder."""
    root = next((folder.parent for folder in PACKAGES.values() if path.is_relative_to(folder)), ROOT)
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def top_levels(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_the_design_lets_them(package: str) -> None:
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[package] - {package}
    breaches = [
        f"{path.relative_to(ROOT)}: {name}" for path in sources(package) for name in top_levels(path) & forbidden
    ]
    assert not breaches


def test_training_takes_nothing_of_icm_but_codec_media_errors_files_and_how_yaml_is_read() -> None:
    allowed = ("icm.codec", "icm.media", "icm.errors", "icm.torchvision_ops", "icm.config.yaml_text")
    of_files = ("icm.atomic_file", "icm.folders")
    of_commands = ("icm.service.command_line", "icm.version")
    breaches = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources("icm_train")
        for name in imports(path)
        if name.startswith("icm.") and not name.startswith((*allowed, *of_files, *of_commands))
    ]
    assert not breaches


def test_every_package_folder_is_named_in_the_rules() -> None:
    inits = [path for path in tracked() if path.name == "__init__.py" and not path.is_relative_to(ROOT / "tests")]
    assert all(any(path.is_relative_to(folder) for folder in PACKAGES.values()) for path in inits)
    assert set(PACKAGES) == set(MAY_IMPORT)


def room(path: Path) -> str:
    """The room of a file: the folder below its package's, one deeper in the codec and in the viewer; at the top each
    file is its own.
    """
    name = module_name(path)
    parts = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    depth = 3 if parts[:2] in (["icm", "codec"], ["cloud_service", "viewer"]) else 2
    return ".".join(parts[:depth]) if len(parts) >= depth else name


def needed_rooms(package: str) -> dict[str, set[str]]:
    """Which rooms of its own package each room imports, imports for types alone left out."""
    rooms = {module_name(path): room(path) for path in sources(package)}
    needed: dict[str, set[str]] = {}
    for path in sources(package):
        others = {rooms[name] for name in imports(path, at_start_only=True) if name in rooms}
        needed.setdefault(room(path), set()).update(others - {room(path)})
    return needed


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_two_rooms_need_each_other_not_even_around_corners(package: str) -> None:
    try:
        TopologicalSorter(needed_rooms(package)).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_rooms_know_only_what_lies_before_them_on_a_records_way() -> None:
    def breaches(room_name: str, forbidden: tuple[str, ...]) -> set[str]:
        return {name for name in needed_rooms(room_name.partition(".")[0])[room_name] if name.startswith(forbidden)}

    assert not breaches("edge_service.rate", ("edge_service",))
    assert needed_rooms("edge_service")["edge_service.spool"] <= {"edge_service.losses"}
    assert not breaches("edge_service.losses", ("edge_service",))
    assert not breaches("edge_service.uplink", ("edge_service.camera", "edge_service.sources"))
    assert not breaches("cloud_service.store", ("cloud_service.ingest", "cloud_service.processing"))
    assert not breaches("cloud_service.ingest", ("cloud_service.processing", "cloud_service.archive"))
    assert not breaches("cloud_service.processing", ("cloud_service.ingest", "cloud_service.api"))


def test_an_engine_has_no_store_database_or_archive_to_write_to() -> None:
    forbidden = ("store", "database", "events", "archive.writer", "archive.storage", "archive.catalogue", "ingest")
    breaches = {
        f"{module_name(path)}: {name}"
        for path in sources("cloud_service")
        if module_name(path).startswith("cloud_service.processing.engine")
        for name in imports(path)
        if name.startswith(tuple(f"cloud_service.{room}" for room in forbidden))
    }
    assert not breaches


def test_services_and_codec_never_load_what_is_for_tests() -> None:
    loaders = [
        path
        for package in ("icm", "edge_service", "cloud_service")
        for path in sources(package)
        if not module_name(path).startswith("icm.testing")
    ]
    assert not [path for path in loaders if any(name.startswith("icm.testing") for name in imports(path))]


def test_the_codec_needs_no_service() -> None:
    allowed = ("icm.codec", "icm.errors", "icm.camera_name")
    breaches = {
        f"{module_name(path)}: {name}"
        for path in sources("icm")
        if module_name(path).startswith("icm.codec")
        for name in imports(path)
        if name.startswith("icm.") and not name.startswith(allowed)
    }
    assert not breaches


def test_no_room_has_more_modules_than_a_reader_takes_in() -> None:
    counted = Counter(
        path.parent
        for path in tracked()
        if path.suffix == ".py"
        and path.name not in {"__init__.py", "conftest.py"}
        and path.parent not in {GENERATED, STEPS}
    )
    assert {str(folder.relative_to(ROOT)): count for folder, count in counted.items() if count > MAX_MODULES} == {}


def edge_closure() -> set[Path]:
    """Every file of the project that icm-edge loads by starting, followed from its command."""
    modules = {module_name(path): path for package in MAY_IMPORT for path in sources(package)}
    found: set[Path] = set()
    todo = ["edge_service.cli", *(name for name in modules if name.startswith("edge_service"))]
    while todo:
        name = todo.pop()
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            path = modules.get(".".join(parts[:depth]))
            if path and path not in found:
                found.add(path)
                todo.extend(imports(path, at_start_only=True))
    return found


def test_nothing_that_the_edge_loads_imports_what_its_install_does_not_hold() -> None:
    held = distributions_of("edge")
    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in edge_closure()
        for name in {dotted.partition(".")[0] for dotted in imports(path, at_start_only=True)}
        if not is_ours(name) and not distributions(name) & held
    }
    assert len(edge_closure()) > 10
    assert not missing


def test_the_edge_and_its_codec_run_where_torch_cannot_be_imported() -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'ultralytics', 'cloud_service', 'icm_train'): sys.modules[name] = None\n"
        "import edge_service.cli, icm.codec.bundle.loading, icm.codec.decoder, icm.codec.encoder\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("packages", "extra"),
    [
        (("edge_service", "icm"), "edge"),
        (("cloud_service",), "cloud viewer-oidc"),
        (("icm_train", "icm_bench", "deploy", "tests"), "train dev cloud"),
    ],
)
def test_every_package_that_is_imported_is_declared(packages: tuple[str, ...], extra: str) -> None:
    declared = set().union(*(distributions_of(name) for name in extra.split()))
    # torchvision is left to ultralytics, which brings the one that fits it; that file copes with its absence.
    undeclared = {
        f"{path.relative_to(ROOT)}: {name}"
        for package in packages
        for path in sources(package)
        if path.name != "torchvision_ops.py"
        for name in top_levels(path)
        if not is_ours(name) and not distributions(name) & declared
    }
    assert not undeclared


def is_ours(name: str) -> bool:
    return name in MAY_IMPORT or name in {"tests", "conftest"} or name in sys.stdlib_module_names


@cache
def shipped() -> Mapping[str, list[str]]:
    return packages_distributions()


def distributions(module: str) -> set[str]:
    """The distributions that ship a module of this name."""
    return {normal(name) for name in shipped().get(module, [])}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def distributions_of(extra: str) -> set[str]:
    """What our install with this extra asks for by name, without what those ask for in turn."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked: set[str] = set()
    for line in project["dependencies"] + project["optional-dependencies"][extra]:
        requirement = Requirement(line)
        if requirement.name == project["name"]:
            asked |= set().union(*(distributions_of(inner) for inner in requirement.extras))
        else:
            asked.add(normal(requirement.name))
    return asked


def test_no_file_is_longer_than_a_reader_likes() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in tracked()
        if path.suffix == ".py" and not path.is_relative_to(GENERATED)
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    ]
    assert not long


def test_no_file_names_a_folder_of_the_machine_it_was_written_on() -> None:
    # Spelled apart so that this file passes its own test.
    homes = re.compile(
        "|".join(("/wo" r"rk/", "/op" r"t/", "/ro" r"ot/", "/ho" r"me/(?!icm\b)", "/Us" r"ers/")).encode()
    )
    named = [
        f"{path.relative_to(ROOT)}:{number}: {line[:100].decode(errors='replace')}"
        for path in tracked()
        if b"\0" not in (content := path.read_bytes())[:8192]
        for number, line in enumerate(content.splitlines(), 1)
        if homes.search(line)
    ]
    assert not named


def error_classes(base: type[errors.IcmError] = errors.IcmError) -> list[type[errors.IcmError]]:
    return [base, *(inner for cls in base.__subclasses__() for inner in error_classes(cls))]


def ours() -> list[type[errors.IcmError]]:
    return [cls for cls in error_classes() if cls.__module__ == errors.__name__]


def test_errors_are_raised_from_the_tree_and_defined_nowhere_else() -> None:
    defined = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for package in MAY_IMPORT
        for path in sources(package)
        if path != ROOT / "shared/icm/errors.py"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).endswith(("Error", "Exception")) for base in node.bases)
    ]
    assert not defined


def test_the_error_tree_in_the_docstring_is_the_tree() -> None:
    told: dict[str, str] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if drawn := re.match(r"^    ((?:[│ ]   )*)(?:[├└]── )?(\w+Error)\b", line):
            depth = len(drawn[1]) // 4 + ("──" in line)
            branch[depth:] = [drawn[2]]
            told[drawn[2]] = branch[depth - 1] if depth else "Exception"
    assert told == {cls.__name__: cls.__bases__[0].__name__ for cls in ours()}


def test_every_error_has_a_status_and_a_reason_of_its_own() -> None:
    assert set(status.STATUS) == set(ours())
    reasons = [cls.reason for cls in ours()]
    assert len(set(reasons)) == len(reasons)


def test_every_declared_package_is_pinned_to_one_version() -> None:
    pinned = re.findall(r"^([\w.-]+)==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set().union(*(distributions_of(extra) for extra in extras)) <= {normal(name) for name in pinned}


@pytest.mark.parametrize("extra", ["edge", "gpu", "cloud", "cloud-gpu", "train"])
def test_no_install_brings_two_builds_of_the_onnx_runtime_and_the_edge_none_of_torch(extra: str) -> None:
    asked = distributions_of(extra)
    assert len(asked & {"onnxruntime", "onnxruntime-gpu"}) == 1
    assert ("torch" in asked) == (extra not in {"edge", "gpu"})


def test_every_declared_package_is_explained_and_no_other() -> None:
    rows = [line.split("|")[1] for line in (ROOT / "docs/dependencies.md").read_text().splitlines() if line[:1] == "|"]
    told = {normal(name) for row in rows for name in re.findall(r"`([\w.-]+)`", row)}
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = pyproject["project"]["optional-dependencies"]
    building = {normal(name) for name in pyproject["build-system"]["requires"]}
    assert told | {"reader"} == set().union(building, *(distributions_of(extra) for extra in extras)) | set(extras)
