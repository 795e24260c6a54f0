"""How soon SearchService answers from an archive of a million frames: milliseconds, on SQLite and on PostgreSQL.

The archive is a month of 16 cameras (see search_scenes), made by what folds events in a running cloud, which takes a
quarter of an hour; it is kept under .cache for the next run. Then a server with SearchService is asked each kind of
question many times over gRPC, with arguments drawn at random, by a caller in the same process. First pages count what
was found besides. Last, pages are followed from the newest sighting on, one each a measurement, so most are deep ones.

A round asks all questions of both databases. What a question took is that of its best round, as other programs share
the machine; how the load was is said, and what a processor had to work, which is what remains on an idle machine.

PostgreSQL is a server of the benchmark's own, as Debian sets it up; it is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, text

from cloud_service.api.search_service import SearchService
from cloud_service.database.opening import open_database
from cloud_service.store import RawRecord, RecordStore
from cloud_service.store.index import SegmentIndex
from icm.codec.bitstream.record import Kind, Record, StreamHeader
from icm.rpc.channels import open_channel
from icm.rpc.servers import Server
from icm.service.clock import SystemClock
from icm.testing.postgres import PostgresServer, find_programs
from icm.v1 import search_pb2 as pb
from icm.v1.search_pb2_grpc import SearchServiceStub, add_SearchServiceServicer_to_server
from icm_bench.archive.search_data import copy_rows, folding_speed, row_counts, size_mb, sqlite_archive
from icm_bench.archive.search_questions import Archive, Ask, Question, questions
from icm_bench.archive.search_scenes import START_US, Scale
from icm_bench.report import RESULTS, print_rows, write_json

TARGET_MS = 50.0
FOLLOWED = {
    "all pages of 500": pb.SearchSightingsRequest(page_size=500),
    "all pages of a class and a score": pb.SearchSightingsRequest(classes=["car"], least_score=0.9, page_size=50),
    "all pages of a score that few have": pb.SearchSightingsRequest(least_score=0.99, page_size=50),
}
"""What is asked for page by page, to its end."""
_Taken = list[tuple[float, float]]
"""Of each measurement the milliseconds that passed, and those that a processor worked."""
_UNPACKED = Path(".cache/tools/usr")
_FOLDED = 4000


@contextmanager
def _store(folder: Path, cameras: Sequence[str]) -> Iterator[RecordStore]:
    """A store that knows the cameras, of whose records SearchService asks nothing more."""
    database = open_database(f"sqlite:///{folder / 'records.db'}")
    store = RecordStore(folder / "records", SegmentIndex(database), 10.0, SystemClock())
    for camera in cameras:
        header = StreamHeader(bytes(32), camera, 1, START_US, 64, 48)
        record = Record(1, START_US, Kind.I, 0, 48, 1, bytes(64))
        store.append(header, [RawRecord(record, record.pack(header))])
    yield store
    store.close()
    database.dispose()


@contextmanager
def _postgres(source: Engine, scale: Scale) -> Iterator[tuple[Engine | None, dict[str, Any]]]:
    """The archive in PostgreSQL, and how fast both databases fold."""
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="icm-archive-")))
        empty = {"SQLite": open_database(f"sqlite:///{folder}/part.db")}
        copied: Engine | None = None
        if (programs := find_programs([_UNPACKED])) is not None:
            libraries = next(_UNPACKED.absolute().glob("lib/*-linux-gnu"), None)
            environment = {"LD_LIBRARY_PATH": str(libraries)} if libraries is not None else {}
            server = ending.enter_context(PostgresServer(programs, environment=environment))
            copied = open_database(server.url())
            with copied.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("CREATE DATABASE part"))
            empty["PostgreSQL"] = open_database(server.url("part"))
            copy_rows(source, copied)
        else:
            print("PostgreSQL is not installed here: SQLite alone")
        speeds = {name: folding_speed(database, scale, _FOLDED) for name, database in empty.items()}
        for database in empty.values():
            database.dispose()
        yield copied, {"folded frames/s": speeds}
        if copied is not None:
            copied.dispose()


class _Watch:
    """Tells what calls take: milliseconds that pass, and those that a processor works for them.

    The processor's are those of this process, caller and all, and of PostgreSQL's for its connections.
    """

    def __init__(self, database: Engine) -> None:
        self._backends: list[Path] = []
        if database.dialect.name == "postgresql":
            with database.connect() as connection:
                own = text("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
                self._backends = [Path(f"/proc/{pid}/schedstat") for pid in connection.scalars(own)]
        self.taken: list[tuple[float, float]] = []

    async def time(self, asks: Sequence[Ask], stub: Any) -> Any:
        """Makes calls, one after the other, notes what they took, and returns the last one's answer."""
        answer = None
        worked, begun = self._worked(), time.perf_counter()
        for ask in asks:
            answer = await getattr(stub, ask.method)(ask.request)
        ended = time.perf_counter()
        self.taken.append(((ended - begun) * 1e3, (self._worked() - worked) * 1e3))
        return answer

    def _worked(self) -> float:
        return time.process_time() + sum(int(backend.read_text().split()[0]) for backend in self._backends) / 1e9


async def _ask(stub: Any, question: Question, chance: random.Random, times: int, watch: _Watch) -> _Taken:
    """Asks some times, after two that read from the disk what is read for the first time."""
    for _ in range(2):
        await watch.time(question(chance), stub)
    watch.taken = []
    for _ in range(times):
        await watch.time(question(chance), stub)
    return watch.taken


async def _follow(stub: Any, request: pb.SearchSightingsRequest, watch: _Watch) -> _Taken:
    """Asks for each page of all."""
    asked = pb.SearchSightingsRequest()
    asked.CopyFrom(request)
    watch.taken = []
    while True:
        answer = await watch.time([Ask("SearchSightings", asked)], stub)
        if not answer.next_cursor:
            return watch.taken
        asked.cursor = answer.next_cursor


async def _round(database: Engine, store: RecordStore, archive: Archive, times: int, seed: int) -> dict[str, _Taken]:
    """What each question took of one database."""
    server = Server("127.0.0.1:0", False)
    add_SearchServiceServicer_to_server(SearchService(database, store), server.grpc)
    await server.start()
    taken: dict[str, _Taken] = {}
    watch = _Watch(database)
    try:
        async with open_channel(f"127.0.0.1:{server.port}", allow_plaintext=False) as channel:
            stub = SearchServiceStub(channel)
            for name, question in questions(archive).items():
                taken[name] = await _ask(stub, question, random.Random(f"{seed} {name}"), times, watch)
            for name, request in FOLLOWED.items():
                taken[name] = await _follow(stub, request, watch)
    finally:
        await server.stop(0)
    return taken


def _figures(rounds: Sequence[_Taken]) -> dict[str, float]:
    """Of the round with the lowest 95th percentile, and that of the worst one."""
    passed = [[took for took, _ in taken] for taken in rounds]
    best = min(passed, key=_p95)
    return {
        "median ms": round(float(np.median(best)), 1),
        "p95 ms": round(_p95(best), 1),
        "max ms": round(max(best), 1),
        "p95 of the worst round ms": round(max(_p95(of) for of in passed), 1),
        "p95 on a processor ms": round(min(_p95([worked for _, worked in taken]) for taken in rounds), 1),
    }


def _p95(taken: Sequence[float]) -> float:
    return float(np.percentile(taken, 95))


def run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="icm-bench archive", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--cameras", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--days", type=int, default=30, help="(default: %(default)s)")
    parser.add_argument(
        "--times", type=int, default=100, help="each question is asked in a round (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="the best of which counts (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=Path(".cache/archive"), help="the archive (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    scale = Scale(options.frames, options.cameras, options.days)
    sqlite, made = sqlite_archive(scale, options.cache)
    taken: dict[tuple[str, str], list[_Taken]] = {}
    loads = []
    with (
        tempfile.TemporaryDirectory(prefix="icm-archive-") as folder,
        _store(Path(folder), scale.names()) as store,
        _postgres(sqlite, scale) as (postgres, speeds),
    ):
        archive = Archive.of(sqlite, scale)
        gc.collect()
        gc.freeze()  # as cloud_service.app does
        databases = {"SQLite": sqlite} | ({"PostgreSQL": postgres} if postgres is not None else {})
        for number in range(options.rounds):
            for name, database in databases.items():
                of_round = asyncio.run(_round(database, store, archive, options.times, number))
                loads.append(os.getloadavg()[0])
                for question, values in of_round.items():
                    taken.setdefault((question, name), []).append(values)
        sizes = {name: size_mb(database) for name, database in databases.items()}
        rows_of = row_counts(sqlite)
    sqlite.dispose()
    rows: list[dict[str, Any]] = [
        {"question": question, "database": name, **_figures(rounds)} for (question, name), rounds in taken.items()
    ]
    print_rows(rows)
    slow = [f"{of['question']} ({of['database']})" for of in rows if of["p95 ms"] >= TARGET_MS]
    print(f"p95 of {TARGET_MS:g} ms or more: {', '.join(slow) or 'none'}; load {min(loads):.1f} to {max(loads):.1f}")
    figures = {
        "cameras": scale.cameras, "days": scale.days, **made, "sightings": rows_of["sightings"],
        "segments with boxes": rows_of["boxes"], **speeds, "MB": sizes, "times": options.times,
        "rounds": options.rounds, "load": f"{min(loads):.1f} to {max(loads):.1f}",
        f"p95 of {TARGET_MS:g} ms or more": len(slow), "rows": rows,
    }  # fmt: skip
    print(f"written to {write_json('archive', figures, options.results)}")
    return 0
