"""Real evidence files for tests: made by a real cloud of records that a real encoder made, and changed afterwards."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloud_service.database.opening import attach_database
from cloud_service.database.statements import transaction
from cloud_service.proof.tombstones import Deletion, write_tombstones
from cloud_service.store.index import Change, SegmentIndex, State
from cloud_service.store.index.segment_index import sound_segment
from icm.client.cloud import AsyncCloudClient
from icm.codec.bitstream.record import Record, StreamHeader
from icm.codec.bundle.loading import Bundle
from icm.codec.encoder import Encoder
from icm.evidence.layout import MANIFEST, SIGNATURE, SIGNER, Role
from icm.evidence.manifest import FileEntry, Manifest, parse_manifest
from icm.evidence.zip_reading import CaseFile
from icm.evidence.zip_writing import CaseZip
from icm.proof.keys import SigningKey, public_pem
from icm.proof.seals import make_seal, record_hash
from icm.v1.archive_pb2 import ListSegmentsRequest
from icm.v1.ingest_pb2 import Seal
from tests.cloud_service.parts import FRAME_US, START_US, BrightnessDetector
from tests.cloud_service.running import RunningCloud, running_cloud

WIDTH, HEIGHT = 96, 64
EPOCH = 7
SEGMENT_FRAMES = 10
"""At ten frames a second in segments of a second."""
EDGE_KEY = SigningKey.new()
"""Of the edge that sends gate."""
START = datetime.fromtimestamp(START_US / 1e6, UTC)


def moving_square(count: int, first: int = 0) -> list[NDArray[np.uint8]]:
    """Pictures of a bright square that walks over a ramp, uint8[HEIGHT, WIDTH, 3] each."""
    column, row = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    ramp = np.stack((column, row + 40, 120 - row), axis=-1).astype(np.uint8)
    pictures = []
    for number in range(first, first + count):
        picture = ramp.copy()
        left = 3 * number % (WIDTH - 24)
        picture[20:44, left : left + 24] = (230, 60, 200)
        pictures.append(picture)
    return pictures


def resting_square(count: int) -> list[NDArray[np.uint8]]:
    """The same where the square rests after every third step, for half a second."""
    steps = iter(moving_square(count))
    pictures = [next(steps)]
    while len(pictures) < count:
        pictures += [next(steps) for _ in range(3)]
        pictures += 5 * pictures[-1:]
    return pictures[:count]


def coded_stream(
    bundle: Bundle, camera: str, pictures: Iterable[NDArray[np.uint8]]
) -> tuple[StreamHeader, list[Record]]:
    """A camera's records of these pictures, ten a second: the first alone, the others after it."""
    header = StreamHeader(bundle.codec_id, camera, EPOCH, START_US, WIDTH, HEIGHT)
    encoder = Encoder(bundle)
    coded = [encoder.encode(picture, 4) for picture in pictures]
    return header, [item.record(n + 1, START_US + n * FRAME_US) for n, item in enumerate(coded)]


def at(seconds: float) -> datetime:
    """So long after the first record."""
    return START + timedelta(seconds=seconds)


async def archived(cloud: RunningCloud, camera: str, segments: int) -> None:
    """Waits until so many of a camera's videos are in the archive."""
    request = ListSegmentsRequest(camera=camera)
    for _ in range(1200):
        if len((await cloud.archive.ListSegments(request)).segments) >= segments:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the archive has not {segments} videos of {camera} after a minute")


def delete_segment(cloud: RunningCloud, folder: Path, camera: str, number: int) -> None:
    """Deletes a segment's files, with a tombstone in the database and the chain, as a rule of retention would.

    Args:
        folder: that everything of the cloud lies in.
    """
    database = attach_database(f"sqlite:///{folder / 'cloud.db'}")
    index = SegmentIndex(database)
    segment = sound_segment(index.following(camera, number, 1)[0])
    assert segment.number == number
    deletion = Deletion(segment, "max_age", "records.max_age: 1 d", "retention", START_US + 86_400_000_000)
    with transaction(database) as connection:
        write_tombstones(connection, [deletion])
    cloud.app._keeper.deleted([deletion])
    index.write([Change(camera, number, None, State.GONE)])
    (folder / "records" / segment.path).unlink()
    database.dispose()


async def sealed(cloud: RunningCloud, folder: Path, header: StreamHeader, records: list[Record]) -> None:
    """Hands the cloud the seal of an edge over these records, and waits until it is kept.

    Args:
        folder: that everything of the cloud lies in.
    """
    hashes = {record.sequence: record_hash(header.pack(), record.pack(header)) for record in records}
    seal = make_seal(
        camera=header.camera, epoch=header.epoch, records=hashes, sealed_us=records[-1].capture_us, key=EDGE_KEY
    )
    message = Seal(first_sequence=1, lengths=[len(records)], sealed_us=seal.sealed_us, signature=seal.signature)
    cloud.app._seals.take(header.camera, header.epoch, EDGE_KEY.public, message)
    for _ in range(600):
        if any((folder / "proof/seals").rglob("*.seals")):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the cloud keeps no seals after half a minute")


def contents(path: Path) -> dict[str, bytes]:
    """The files of an evidence file, in their order."""
    with CaseFile(path) as case:
        return {name: case.read(name, 1 << 30) for name in case.entries}


def write_case(path: Path, files: dict[str, bytes]) -> None:
    """An evidence file of these very files, whatever they are."""
    case = CaseZip()
    with path.open("wb") as out:
        for name, data in files.items():
            out.writelines(case.add(name, None, [data]))
        out.writelines(case.finish())


def sign_again(files: dict[str, bytes], key: SigningKey, change: Callable[[Manifest], Manifest] = lambda m: m) -> None:
    """Makes manifest and signature fit the files, as somebody with another key would.

    Args:
        files: changed in place.
        change: of the manifest, before it is signed.
    """
    old = parse_manifest(files[MANIFEST])
    if SIGNER in files:
        files[SIGNER] = public_pem(key.public)
    roles = {file.path: file.role for file in old.files}
    listed = [
        FileEntry(path=name, role=roles.get(name, Role.CLIP), sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        for name, data in sorted(files.items())
        if name not in (MANIFEST, SIGNATURE)
    ]
    counts = old.counts.model_copy(update={"files": len(listed), "bytes": sum(file.size for file in listed)})
    manifest = change(old.model_copy(update={"files": listed, "counts": counts, "signer": key.public.hex()}))
    files[MANIFEST] = manifest.to_bytes()
    files[SIGNATURE] = key.sign(files[MANIFEST])


async def make_cases(folder: Path, bundle: Bundle) -> dict[str, Path]:
    """Real evidence files: of camera gate from its second segment on, whose fourth was deleted, of camera yard, and of
    camera lobby, where nothing moves for a while.
    """
    made = {camera: folder / f"{camera}.zip" for camera in ("gate", "yard", "lobby")}
    async with running_cloud(folder / "cloud", bundle, BrightnessDetector()) as cloud:
        for first, camera in enumerate(made):
            pictures = resting_square(45) if camera == "lobby" else moving_square(45, 20 * first)
            header, records = coded_stream(bundle, camera, pictures)
            await cloud.deliver(header, records)
            await archived(cloud, camera, 5)
            if camera == "gate":
                await sealed(cloud, folder / "cloud", header, records)
        delete_segment(cloud, folder / "cloud", "gate", 4)
        async with AsyncCloudClient(f"127.0.0.1:{cloud.app.port}") as client:
            for camera, path in made.items():
                await client.export(path, camera, at(1.0), at(60), case="What happened at noon", by="Ann")
    return made
