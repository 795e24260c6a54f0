"""What the pages for readers name is there: links, headings and paths; and their lines can be read in any editor."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_COLUMNS = 120
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)
GENERATED = {"results.md", "ablation.md"}
"""Pages that a command writes, whose lines are as long as it makes them."""
SOURCES = ("c", "h", "md", "npz", "onnx", "proto", "py", "toml", "yaml", "yml")
"""Endings by which a name without a folder is known for a file of the project."""


def prose(page: Path) -> str:
    """The page without what stands in fences."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Where the page's links and images point, addresses of other hosts left out."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return [link for link in re.findall(r"\]\(([^()\s]+)\)", text) if not re.match(r"[a-z]+:", link)]


def named_paths(page: Path) -> list[str]:
    """What stands in backticks and is a path of the project: with a folder, or a file's ending."""
    quoted = re.findall(r"`([\w.-]+(?:/[\w.-]+)*/?)`", prose(page))
    return [name for name in quoted if "/" in name or (name.rpartition(".")[2] in SOURCES and name.rpartition(".")[0])]


def slugs(page: Path) -> set[str]:
    """The names by which the page's headings are linked to."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def known() -> set[str]:
    """Every file and folder that git knows or would add, whole and without any number of its first folders."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    files = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    parts = [name.split("/") for name in files]
    return {"/".join(path[start:end]) for path in parts for end in range(1, len(path) + 1) for start in range(end)}


def is_ignored(name: str) -> bool:
    """Whether git ignores the path, as it does what a run leaves behind."""
    asked = subprocess.run(["git", "check-ignore", "--quiet", "--", name], cwd=ROOT, check=False)
    return asked.returncode == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_a_heading_of_it(page: Path) -> None:
    broken = []
    for link in links(page):
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (heading and heading not in slugs(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_a_page_names_is_one_of_the_projects_or_of_a_runs(page: Path) -> None:
    assert [name for name in named_paths(page) if name.rstrip("/") not in known() and not is_ignored(name)] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in GENERATED], ids=lambda page: page.name)
def test_lines_are_no_longer_than_an_editor_is_wide_but_for_tables(page: Path) -> None:
    lines = enumerate(page.read_text().splitlines(), 1)
    assert [number for number, line in lines if len(line) > MAX_COLUMNS and not line.startswith(("|", "!["))] == []


def test_a_wrong_link_a_wrong_heading_and_a_wrong_path_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n[one](gone.md) [two](#a-page) [three](#none)\n`shared/icm/gone.py` `gone.py` `make`\n")
    assert links(page) == ["gone.md", "#a-page", "#none"]
    assert "a-page" in slugs(page)
    assert "none" not in slugs(page)
    assert named_paths(page) == ["shared/icm/gone.py", "gone.py"]
    assert not known() & {"shared/icm/gone.py", "gone.py"}
