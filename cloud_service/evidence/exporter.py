"""Puts evidence files together, as streams: what is read goes out, and nothing of it is held."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from sqlalchemy import Engine

from cloud_service.archive.catalogue import VideoCatalogue
from cloud_service.evidence.camera_export import CameraExport, ExportSources
from cloud_service.evidence.contents import CameraContents, ContentsLookup
from cloud_service.evidence.request import ExportRequest
from cloud_service.feedback.segment_leases import Renew, SegmentLeases
from cloud_service.proof.signing import signing_key
from cloud_service.settings import CloudSettings
from icm.errors import IcmError
from icm.evidence.case import Case, Missing, Range
from icm.evidence.layout import CASE, MANIFEST, PAGE, README, SIGNATURE, SIGNER, Role, bundle_path, proof_path
from icm.evidence.manifest import Counts, Manifest
from icm.evidence.page import page, readme
from icm.evidence.proof_file import proof_chunks
from icm.evidence.times import time_text
from icm.evidence.zip_writing import CaseZip
from icm.proof.chain import Link
from icm.proof.keys import SigningKey, public_pem
from icm.service.clock import Clock
from icm.version import VERSION

log = logging.getLogger(__name__)
_OVERHEAD_BYTES = 1 << 20
"""Of what is neither records nor videos, about, when the size is told before."""


class ChainSource(Protocol):
    """What exports ask of the chains."""

    def settle(self, camera: str) -> None:
        """Puts what was sealed of a camera so far into a block.

        Raises:
            StorageError: the disk refused.
        """

    def links_from(self, camera: str, first: int) -> Iterator[Link]:
        """The blocks of a camera's chain from the first on that may speak of segment ``first`` or later, up to the
        newest.

        Raises:
            IcmError: the chain cannot be read.
        """


class CaseExporter:
    """Makes evidence files of a store. Thread-safe."""

    def __init__(
        self,
        *,
        name: str,
        sources: ExportSources,
        lookup: ContentsLookup,
        chains: ChainSource,
        key: SigningKey,
        clock: Clock,
        leases: SegmentLeases,
        retention: dict[str, Any],
    ) -> None:
        """Creates the exporter.

        Args:
            name: of the record store.
            chains: of the store.
            key: that manifests are signed with.
            leases: of the store's segments.
            retention: the rules in force, as the settings have them.
        """
        self._leases = leases
        self._name, self._sources, self._lookup = name, sources, lookup
        self._chains, self._key, self._clock, self._retention = chains, key, clock, retention

    def find(self, request: ExportRequest) -> list[CameraContents]:
        """As of ``ContentsLookup.find``: what an export would hold."""
        return self._lookup.find(request)

    @contextmanager
    def leased(self, request: ExportRequest) -> Iterator[Renew]:
        """What is asked for stays while the block runs.

        Raises:
            StorageError: the database does not answer.
        """
        with ExitStack() as stack:
            leases = [
                stack.enter_context(self._leases.stretch(camera, request.from_us, request.to_us))
                for camera in request.cameras
            ]

            def renew() -> None:
                for each in leases:
                    each()

            yield renew

    @staticmethod
    def expected_bytes(contents: list[CameraContents]) -> int:
        """How large an export will be, about."""
        return _OVERHEAD_BYTES + sum(of.bytes for of in contents)

    def stream(self, request: ExportRequest, contents: list[CameraContents]) -> Iterator[bytes]:
        """The evidence file, in parts. What is not there any more when its turn comes is named in case.json."""
        case, missing = CaseZip(), list[Missing]()
        now_us = self._clock.now_us()
        log.info("exporting %s for %r", ", ".join(request.cameras), request.exported_by)
        yield from case.add(README, Role.PAGE, [readme()])
        yield from case.add(PAGE, Role.PAGE, [page()])
        exports = [CameraExport(self._sources, of, missing, request.exported_by, now_us) for of in contents]
        for export in exports:
            yield from export.files(case)
            yield from self._proof(case, export.contents, missing)
        yield from self._bundles(case, {codec_id for export in exports for codec_id in export.codec_ids}, missing)
        yield from case.add(SIGNER, Role.PROOF, [public_pem(self._key.public)])
        described = Case(
            case=request.case,
            exported_by=request.exported_by,
            caller=request.caller,
            exported_at=time_text(now_us),
            range=Range(start=time_text(request.from_us), end=time_text(request.to_us)),
            store=self._name,
            software=f"icm-bridge {VERSION}",
            retention=self._retention,
            cameras=[export.result(request, now_us) for export in exports],
            missing=missing,
        )
        yield from case.add(CASE, Role.CASE, [described.to_bytes()])
        manifest = self._manifest(case, described).to_bytes()
        yield from case.add(MANIFEST, None, [manifest])
        yield from case.add(SIGNATURE, None, [self._key.sign(manifest)])
        yield from case.finish()

    def _proof(self, case: CaseZip, contents: CameraContents, missing: list[Missing]) -> Iterator[bytes]:
        camera = contents.camera
        numbers = [of.number for of in contents.segments] + [of.number for of in contents.tombstones]
        first, last = max(1, min(numbers, default=1) - 1), max(numbers, default=0) + 1
        try:
            self._chains.settle(camera)
            # Read before the file is begun: what goes wrong must not end it half-way.
            chunks = list(proof_chunks(camera, self._chains.links_from(camera, first), first, last))
        except IcmError as error:
            missing.append(Missing(camera=camera, segment=0, what="what proves its records", why=str(error)))
            return
        yield from case.add(proof_path(camera), Role.PROOF, chunks)

    def _bundles(self, case: CaseZip, codec_ids: set[bytes], missing: list[Missing]) -> Iterator[bytes]:
        for codec_id in sorted(codec_ids):
            what = f"the manifest of the bundle of codec {codec_id.hex()}"
            try:
                folder = self._sources.bundles.of(codec_id, what).folder
                data = (folder / "manifest.json").read_bytes()
            except (IcmError, OSError) as error:
                missing.append(Missing(camera="", segment=0, what=what, why=str(error)))
                continue
            yield from case.add(bundle_path(codec_id.hex()), Role.BUNDLE, [data])

    def _manifest(self, case: CaseZip, described: Case) -> Manifest:
        segments = [segment for camera in described.cameras for segment in camera.segments]
        return Manifest(
            exported_at=described.exported_at,
            signer=self._key.public.hex(),
            counts=Counts(
                files=len(case.files),
                bytes=sum(file.size for file in case.files),
                segments=len(segments),
                records=sum(segment.records for segment in segments),
                clips=sum(len(camera.clips) for camera in described.cameras),
                tombstones=sum(len(camera.tombstones) for camera in described.cameras),
                missing=len(described.missing),
            ),
            files=sorted(case.files, key=lambda file: file.path),
        )


def open_exporter(
    *,
    name: str,
    settings: CloudSettings,
    sources: ExportSources,
    catalogue: VideoCatalogue,
    database: Engine,
    chains: ChainSource,
    leases: SegmentLeases,
    clock: Clock,
) -> CaseExporter:
    """The exporter of a cloud, which owns the store.

    Args:
        name: of the record store.
        chains: of the store.

    Raises:
        StorageError: the store's signing key cannot be used.
    """
    return CaseExporter(
        name=name,
        sources=sources,
        lookup=ContentsLookup(sources.store, catalogue, database, settings.export.max_bytes),
        chains=chains,
        key=signing_key(settings.store.folder),
        clock=clock,
        leases=leases,
        retention=settings.retention.model_dump(mode="json"),
    )
