"""``icm-bench viewer``: how soon each page of the viewer comes from an archive of a million frames.

The viewer is the real one, in a process of its own, on the archive of ``icm-bench archive`` with the rows of a million
segments beside it (see pages_data), which is kept under .cache for the next run. Beside it runs a real cloud, whose
store holds a few records, for the pages that ask it something. Pages are asked for one after the other by an
administrator, at addresses drawn at random, over one connection. A round asks for all pages; what a page took is that
of its best round, as other programs share the machine; how the load was is said, and what the viewer had to work, which
is what remains on an idle machine. How many statements a page asks the database is counted in a second viewer, which
says so in a header.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from cloud_service.database.opening import database_engine
from cloud_service.database.sightings_tables import SightingRow
from cloud_service.sightings.page_cursor import PageCursor
from cloud_service.sightings.search import SightingQuery
from icm.client.cloud import CloudClient
from icm.frame_id import FrameId
from icm_bench.archive.search_questions import Archive
from icm_bench.archive.search_scenes import Scale
from icm_bench.report import RESULTS, print_rows, write_json
from icm_bench.viewer.counted_viewer import HEADER
from icm_bench.viewer.page_services import Browser, add_people, counting_viewer, running_cloud, running_viewer
from icm_bench.viewer.page_table import PAGES, PERSON, MeasuredPage, Scene
from icm_bench.viewer.pages_data import viewer_database

_WARM = 2
_COUNTED = 5
"""How often a page's statements are counted."""
_CURSORS = 200


@dataclass(frozen=True)
class _Taken:
    """What the answers of a round took.

    Attributes:
        passed: milliseconds of each.
        worked: milliseconds that the viewer worked for each.
        in_cloud: milliseconds that the same question took the cloud, asked by itself; empty where that is little.
        bytes: of the largest answer.
    """

    passed: list[float]
    worked: list[float]
    in_cloud: list[float]
    bytes: int


def run(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    scale = Scale(options.frames, options.cameras, options.days)
    database = viewer_database(scale, options.cache, PERSON)
    taken: dict[str, list[_Taken]] = {page.name: [] for page in PAGES}
    loads = []
    with tempfile.TemporaryDirectory(prefix="icm-viewer-") as place:
        folder = Path(place)
        export = add_people(folder, scale.names()[0])
        with running_cloud(folder / "cloud", scale.names()[0]) as (cloud, frame):
            scene = _scene(database, scale, frame, export)
            with running_viewer(folder, database, cloud) as browser, CloudClient(cloud) as client:
                for number in range(options.rounds):
                    for page in PAGES:
                        chance = random.Random(f"{number} {page.name}")
                        ask_cloud = (lambda: client.inspect(frame)) if page.asks_cloud else None
                        taken[page.name].append(_ask(browser, page, scene, chance, options.times, ask_cloud))
                    loads.append(os.getloadavg()[0])
            with counting_viewer(folder, database, cloud) as browser:
                queries = {page.name: _count(browser, page, scene) for page in PAGES}
    rows = [_row(page, taken[page.name], queries[page.name]) for page in PAGES]
    print_rows(rows)
    beyond = [row["page"] for row in rows if row.get("p95_without_cloud_ms", row["p95_ms"]) >= row["budget_ms"]]
    asking = [page.name for page in PAGES if queries[page.name] > page.queries]
    print(f"beyond its budget: {', '.join(beyond) or 'none'}; load {min(loads):.1f} to {max(loads):.1f}")
    print(f"asking the database too much: {', '.join(asking) or 'none'}")
    figures = {
        "cameras": scale.cameras, "days": scale.days, "frames": scale.frames, "database_MB":
        round(database.stat().st_size / 1e6), "times": options.times, "rounds": options.rounds,
        "load": f"{min(loads):.1f} to {max(loads):.1f}", "beyond_budget": len(beyond), "asking_too_much": len(asking),
        "rows": rows,
    }  # fmt: skip
    print(f"written to {write_json('viewer', figures, options.results)}")
    return 0


def _scene(database: Path, scale: Scale, frame: FrameId, export: str) -> Scene:
    engine = database_engine(f"sqlite:///{database}")
    moments = Archive.of(engine, scale).moments
    with engine.connect() as connection:
        starts = connection.execute(select(SightingRow.start_us, SightingRow.id).order_by(SightingRow.id)).all()
    engine.dispose()
    everything = repr(SightingQuery())
    some = starts[:: max(1, len(starts) // _CURSORS)]
    cursors = [PageCursor(row.start_us, row.id).to_text(everything) for row in some]
    return Scene(moments, frame, cursors, export)


def _ask(
    browser: Browser,
    page: MeasuredPage,
    scene: Scene,
    chance: random.Random,
    times: int,
    ask_cloud: Callable[[], object] | None,
) -> _Taken:
    """Asks for a page some times, after those that read from the disk what is read for the first time."""
    taken = _Taken([], [], [], 0)
    largest = 0
    for number in range(-_WARM, times):
        address = page.draw(chance, scene)
        worked, begun = browser.worked(), time.perf_counter()
        answer = browser.ask(page, address)
        ended = time.perf_counter()
        if number >= 0:
            taken.passed.append((ended - begun) * 1e3)
            taken.worked.append((browser.worked() - worked) * 1e3)
            largest = max(largest, len(answer.content))
            if ask_cloud is not None:
                begun = time.perf_counter()
                ask_cloud()
                taken.in_cloud.append((time.perf_counter() - begun) * 1e3)
    return _Taken(taken.passed, taken.worked, taken.in_cloud, largest)


def _count(browser: Browser, page: MeasuredPage, scene: Scene) -> int:
    """The most statements that an answer asked."""
    chance = random.Random(page.name)
    return max(int(browser.ask(page, page.draw(chance, scene)).headers[HEADER]) for _ in range(_COUNTED))


def _row(page: MeasuredPage, rounds: Sequence[_Taken], queries: int) -> dict[str, Any]:
    """Of the round with the lowest 95th percentile."""
    best = min(rounds, key=lambda taken: _p95(taken.passed))
    row: dict[str, Any] = {
        "page": page.name,
        "queries": queries,
        "p50_ms": round(float(np.median(best.passed)), 1),
        "p95_ms": round(_p95(best.passed), 1),
        "p95_of_the_worst_round_ms": round(max(_p95(taken.passed) for taken in rounds), 1),
        "p95_on_a_processor_ms": round(min(_p95(taken.worked) for taken in rounds), 1),
        "kilobytes": round(max(taken.bytes for taken in rounds) / 1000),
        "budget_ms": page.budget_ms,
    }
    if best.in_cloud:
        without = [passed - asked for passed, asked in zip(best.passed, best.in_cloud, strict=True)]
        row["p95_without_cloud_ms"] = round(max(0.0, _p95(without)), 1)
    return row


def _p95(values: Sequence[float]) -> float:
    return float(np.percentile(values, 95))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="icm-bench viewer", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--cameras", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--days", type=int, default=30, help="(default: %(default)s)")
    parser.add_argument("--times", type=int, default=60, help="a page is asked for in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="the best of which counts (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path(".cache/archive"), help="the archive (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)
