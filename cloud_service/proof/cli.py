"""``icm-cloud verify``: whether an archive is what was sealed; ``icm-cloud public-key``: who signs its chains."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cloud_service.settings import CloudSettings
from cloud_service.time_arguments import add_time_argument, microseconds_of
from icm.config.assignments import parse_assignments
from icm.config.settings import load_settings
from icm.errors import ConfigError, NotFoundError, ProofError, StorageError, storage_error
from icm.service.command_line import say

if TYPE_CHECKING:
    from cloud_service.proof.verification import CameraCheck, Verdict
    from cloud_service.seals.checking import SealCheck
    from icm.proof.chain import Head
    from icm.proof.statements import Pruned

BROKEN_STATUS = 1
"""Exit status of ``verify`` when something does not hold."""
_MOST_BROKEN = 20
"""Lines about one camera's chain."""
_LAST_US = 253_402_300_799_999_999
"""The end of the year 9999."""


class _Place(NamedTuple):
    """A store: its folder and its segments', and the URL of its database, if that is to be asked."""

    store: Path
    records: Path
    database: str | None


def add_commands(commands: Any) -> None:
    """Adds both commands.

    Args:
        commands: what ``add_subparsers`` of the command's parser returned.
    """
    text = "compare the archive with its chains; exit status 1 if something does not hold"
    verify = commands.add_parser("verify", help=text, description=text)
    _add_place(verify)
    verify.add_argument("--camera", action="append", default=[], help="this camera only; repeatable")
    add_time_argument(verify, "--from", "only segments from here on", dest="begin")
    add_time_argument(verify, "--to", "only segments up to here", dest="end")
    verify.add_argument("--deep", action="store_true", help="read and hash every file")
    verify.add_argument("--key", metavar="KEY", help="what heads must be signed with: as `public-key` prints it")
    verify.add_argument(
        "--edge-key", action="append", default=[], metavar="CAMERA=KEY",
        help="with --deep: all records of this camera must be sealed by this key, which `icm-edge public-key` prints;"
        " repeatable, for a camera that has had several too",
    )  # fmt: skip
    verify.add_argument(
        "--witness", action="append", default=[], type=Path, metavar="FILE",
        help="heads that an edge has kept (heads.txt beside its spool), which the chains must hold; repeatable",
    )  # fmt: skip
    verify.set_defaults(command=_verify)
    text = "print the public key that the store's chains are signed with"
    key = commands.add_parser("public-key", help=text, description=text)
    _add_place(key)
    key.set_defaults(command=_public_key)


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings of the cloud, in YAML")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting")
    parser.add_argument(
        "--store", type=Path, metavar="FOLDER", help="the store's folder alone: settings and database are not asked"
    )


def _place(options: argparse.Namespace) -> _Place:
    if options.store is None:
        settings = load_settings(CloudSettings, options.config, parse_assignments(options.set))
        return _Place(settings.store.folder, settings.records_folder, settings.database_url)
    if options.config is not None or options.set:
        raise ConfigError("--store names a folder, --config and --set a cloud's settings: give one or the other")
    return _Place(options.store, options.store / "records", None)


def _public_key(options: argparse.Namespace) -> int:
    from cloud_service.proof.signing import key_path
    from icm.proof.keys import SigningKey

    path = key_path(_place(options).store)
    if not path.exists():
        raise NotFoundError(f"there is no key {path} yet: the first start of icm-cloud makes it")
    say(SigningKey.load(path).public.hex())
    return 0


def _verify(options: argparse.Namespace) -> int:
    from sqlalchemy.exc import SQLAlchemyError

    from cloud_service.database.damage import trouble

    place = _place(options)
    begin = microseconds_of(options.begin) if options.begin else 0
    end = microseconds_of(options.end) if options.end else _LAST_US
    started, total = time.monotonic(), _Total()
    with ExitStack() as opened:
        try:
            for camera, check, seals, pinned in _checks(options, place, opened):
                _tell(camera, check, _sealed(camera, check.verdicts(begin, end), seals, pinned, check.broken), total)
        except OSError as error:
            raise storage_error(error, error.filename or place.store) from None
        except SQLAlchemyError as error:
            raise StorageError(f"{trouble(error)}; or leave the database out: --store {place.store}") from None
    seconds = max(time.monotonic() - started, 1e-9)
    speed = f"{total.segments} segments in {seconds:.1f} s ({total.segments / seconds:.0f}/s)"
    if options.deep:
        speed += f", {total.bytes / 1e6:.1f} MB hashed ({total.bytes / 1e6 / seconds:.0f} MB/s)"
    say(f"{speed}: {'all holds' if total.holds else 'BROKEN'}")
    return 0 if total.holds else BROKEN_STATUS


@dataclass
class _Total:
    """Over all cameras: segments, bytes that were hashed, and whether all holds."""

    segments: int = 0
    bytes: int = 0
    holds: bool = True


def _checks(
    options: argparse.Namespace, place: _Place, opened: ExitStack
) -> Iterator[tuple[str, CameraCheck, SealCheck, bool]]:
    """Every camera that is to be looked at, its check, that of its seals, and whether all must be sealed."""
    from cloud_service.database.opening import attach_database
    from cloud_service.proof.chain_file import FOLDER, chained_cameras
    from cloud_service.proof.database_view import SqlView
    from cloud_service.proof.verification import CameraCheck
    from cloud_service.seals.checking import SealCheck
    from cloud_service.seals.files import FOLDER as SEALS
    from icm.proof.keys import public_key_of

    chains = place.store / FOLDER
    if not (place.records.is_dir() or chains.is_dir()):
        raise NotFoundError(f"there is no store in {place.store}: name the folder that store.folder names")
    view = None
    if place.database is not None:
        database = attach_database(place.database)
        opened.callback(database.dispose)
        view = SqlView(database)
    folders = {path.name for path in place.records.iterdir() if path.is_dir()} if place.records.is_dir() else set()
    cameras = sorted(folders.union(chained_cameras(chains)))
    edge_keys: dict[str, set[bytes]] = defaultdict(set)
    for named, edge_key in map(_edge_key, options.edge_key):
        edge_keys[named].add(edge_key)
    for camera in (*options.camera, *edge_keys):
        if camera not in cameras:
            raise NotFoundError(
                f"there is no camera {camera!r} in {place.store}: it has {', '.join(cameras) or 'none'}"
            )
    key = public_key_of(options.key) if options.key is not None else None
    if options.edge_key and not options.deep:
        raise ConfigError("--edge-key is about every record: give --deep, too")
    witnesses = [head for path in options.witness for head in _heads(path)]
    for camera in options.camera or cameras:
        seals = SealCheck(place.records, chains / SEALS, frozenset(edge_keys.get(camera, ())))
        check = CameraCheck(
            records=place.records,
            chains=chains,
            camera=camera,
            now_us=time.time_ns() // 1000,
            database=view,
            key=key,
            witnesses=witnesses,
            deep=options.deep,
            seals=seals,
        )
        yield camera, check, seals, camera in edge_keys


def _sealed(
    camera: str, verdicts: Iterator[Verdict], seals: SealCheck, pinned: bool, broken: list[str]
) -> Iterator[Verdict]:
    """The same verdicts; says at their end how many records are sealed.

    Args:
        pinned: whether one that is not is a broken link.
        broken: where those go.
    """
    records = sealed = 0
    for verdict in verdicts:
        if pinned and verdict.sealed < verdict.records:
            lacking = verdict.records - verdict.sealed
            broken.append(f"{lacking} of {verdict.records} records of segment {verdict.number} are not sealed")
        records, sealed = records + verdict.records, sealed + verdict.sealed
        yield verdict
    if seals.met:
        keys = ", ".join(key.hex() for key in seals.met)
        say(f"{camera}: {sealed} of {records} records sealed by the edge's key {keys}")


def _tell(camera: str, check: CameraCheck, verdicts: Iterator[Verdict], total: _Total) -> None:
    """Says what became of a camera's segments, a line for all that follow each other and fared alike."""
    from cloud_service.proof.verification import GOOD

    first: Verdict | None = None
    last = 0
    for verdict in verdicts:
        total.segments, total.bytes = total.segments + 1, total.bytes + verdict.size
        total.holds = total.holds and verdict.status in GOOD
        alike = first is not None and (first.status, first.detail) == (verdict.status, verdict.detail)
        if not alike or verdict.number != last + 1:
            _say_run(camera, first, last)
            first = verdict
        last = verdict.number
    _say_run(camera, first, last)
    for text in check.broken[:_MOST_BROKEN]:
        say(f"{camera}: BROKEN: {text}")
    if len(check.broken) > _MOST_BROKEN:
        say(f"{camera}: BROKEN: and {len(check.broken) - _MOST_BROKEN} more")
    total.holds = total.holds and not check.broken
    for entry in check.edge_keys:
        at = datetime.fromtimestamp(entry.at_us / 1e6, UTC)
        who = "as it was met first" if entry.first_use else f"as {entry.by} accepted it: {entry.reason}"
        say(f"{camera}: the edge's key is {entry.key.hex()} from {at:%Y-%m-%dT%H:%M:%SZ} on, {who}")
    if check.pruned is not None:
        _say_pruned(camera, check.pruned)
    head = check.head
    if head is None:
        say(f"{camera}: no chain yet")
    else:
        at = datetime.fromtimestamp(head.signed_us / 1e6, UTC)
        say(f"{camera}: {check.blocks} blocks, the last signed {at:%Y-%m-%dT%H:%M:%SZ} with {head.key.hex()}")


def _say_pruned(camera: str, pruned: Pruned) -> None:
    """Says what of a chain is left as a sum only."""
    count = sum(last - first + 1 for first, last in pruned.segments)
    reasons = ", ".join(f"{reason} {number}" for reason, number in pruned.reasons)
    first, last = (datetime.fromtimestamp(at / 1e6, UTC) for at in (pruned.first_us, pruned.last_us))
    times = f"from {first:%Y-%m-%dT%H:%M:%SZ} to {last:%Y-%m-%dT%H:%M:%SZ}"
    say(f"{camera}: {count} segments {times} were deleted, whose entries are dropped from the chain: {reasons}")


def _say_run(camera: str, first: Verdict | None, last: int) -> None:
    if first is None:
        return
    numbers = str(first.number) if first.number == last else f"{first.number}-{last}"
    status = f"tombstone({first.detail})" if first.status == "tombstone" else first.status
    words = [f"{camera} {numbers}: {status}"]
    if first.detail and first.status != "tombstone":
        words.append(first.detail)
        if first.path:
            words.append(first.path)
    say(": ".join(words))


def _edge_key(text: str) -> tuple[str, bytes]:
    """A camera and its edge's public key.

    Raises:
        ConfigError: the text is none.
    """
    from icm.proof.keys import public_key_of

    camera, equals, key = text.partition("=")
    if not equals:
        raise ConfigError(f"{text!r} is no edge's key: write CAMERA=KEY, as gate=3f2a...")
    return camera, public_key_of(key)


def _heads(path: Path) -> list[Head]:
    """The heads in a file of them.

    Raises:
        ConfigError: the file cannot be read, or holds something else.
    """
    from icm.proof.chain import Head

    try:
        return [Head.of(line) for line in path.read_bytes().splitlines()]
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except ProofError as error:
        raise ConfigError(f"{path}: {error}") from None
