"""One writer of whole files: nothing else renames a file onto another, but for reasons that stand here."""

from __future__ import annotations

import ast

import pytest

from tests.test_layout import PACKAGES, module_name, parsed, sources

RENAMES = {
    "icm.atomic_file": "the one writer of whole files",
    "cloud_service.database.damage": "a damaged database is set aside, its journals first",
    "cloud_service.store.index.deleted": "a damaged list of deleted segments is set aside",
    "cloud_service.store.recovery": "a segment file without a whole record is set aside",
    "edge_service.spool.repair": "SQLite writes the repaired spool itself; the damaged one is set aside",
    "icm_train.long_run.checkpoints": "a checkpoint is a folder, which gets its name when all its files are in it",
}
"""Where files or folders are renamed, and why that is no writing of a file."""


def renames(tree: ast.AST) -> list[int]:
    """Lines that rename a file, or link one into another's place; ``replace`` of texts and of times is none."""
    found = []
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        called, of_module = node.func.attr, ast.unparse(node.func.value) in {"os", "shutil"}
        of_module = of_module and called in {"replace", "rename", "renames", "link", "move"}
        # A text's takes two arguments, a time's only named ones; a path's takes its target alone.
        of_path = called in {"replace", "rename", "hardlink_to"} and len(node.args) == 1 and not node.keywords
        named = called in {"replace", "rename"} and [keyword.arg for keyword in node.keywords] == ["target"]
        if of_module or of_path or named:
            found.append(node.lineno)
    return found


def test_files_are_replaced_by_the_atomic_writer_alone() -> None:
    found = {
        module_name(path): lines
        for package in PACKAGES
        for path in sources(package)
        if (lines := renames(parsed(path)))
    }
    assert {name: lines for name, lines in found.items() if name not in RENAMES} == {}
    assert set(RENAMES) == set(found), "the list names a module that renames nothing any more"


@pytest.mark.parametrize(
    ("source", "renaming"),
    [
        ("os.replace(a, b)", True),
        ("shutil.move(a, b)", True),
        ("path.with_suffix('.tmp').replace(path)", True),
        ("path.rename(target)", True),
        ("path.replace(target=other)", True),
        ("text.replace('a', 'b')", False),
        ("time.replace(tzinfo=UTC)", False),
        ("replace(config, steps=1)", False),
    ],
)
def test_what_counts_as_renaming_a_file(source: str, renaming: bool) -> None:
    assert bool(renames(ast.parse(source))) == renaming
