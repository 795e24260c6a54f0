"""What a cloud can be told about how long it keeps what."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from icm.config.settings import Section

_LONGEST = 100 * 366 * 86_400
"""Seconds: a hundred years."""
_MOST_BYTES = 1 << 60

Seconds = Annotated[float, Field(ge=0, le=_LONGEST)]
Bytes = Annotated[int, Field(ge=0, le=_MOST_BYTES)]
Fraction = Annotated[float, Field(ge=0, le=1)]
FloorClass = Literal["render_cache", "video", "thumbnails", "quiet", "kept"]


class TierSettings(Section):
    """How long one tier of a camera is kept."""

    max_age_seconds: Seconds | None = Field(
        default=None,
        description="Seconds after which nothing is left. Unset: no limit; for video and thumbnails as for records.",
    )
    min_age_seconds: Seconds = Field(
        default=0, description="Seconds for which nothing goes, but for floor.last_resort: delete_oldest."
    )
    max_bytes_per_camera: Bytes | None = Field(
        default=None, description="Bytes on the disk, of each camera; the oldest go. Unset: no limit."
    )


class IndexSettings(Section):
    """How long what detectors found is kept."""

    max_age_seconds: Seconds | None = Field(
        default=None,
        description="Seconds after which detections and sightings are gone, if that is before their records. Unset:"
        " with their records.",
    )


class TotalSettings(Section):
    """What all cameras together may take."""

    max_bytes: Bytes | None = Field(
        default=None,
        description="Bytes on the disk, of all cameras and tiers together; video goes first, then thumbnails, then"
        " records, the oldest of all cameras first. Unset: no limit.",
    )
    min_free_fraction: Fraction = Field(
        default=0.02, description="Part of the disk that is to stay free, 0 to 1; below it the oldest go."
    )
    min_free_bytes: Bytes = Field(default=0, description="Bytes of the disk that are to stay free, if that is more.")
    min_free_inodes_fraction: Fraction = Field(
        default=0.02, description="Part of the disk's inodes that is to stay free, 0 to 1."
    )


class KeepSettings(Section):
    """What a segment must show to be kept longer, and not to be quiet."""

    classes: list[str] = Field(default=[], description="Classes of objects, such as person. Empty: any.")
    score: Fraction = Field(default=0.5, description="Least score of a detection that counts, 0 to 1.")
    before_seconds: float = Field(default=10, ge=0, le=3600, description="Seconds before a detection that stay too.")
    after_seconds: float = Field(default=20, ge=0, le=3600, description="Seconds after a detection that stay too.")
    max_age_seconds: Seconds | None = Field(
        default=None, description="Seconds for which such records are kept, if that is longer than records' own."
    )


class QuietSettings(Section):
    """Records in which a detector found nothing that a rule of keep names. Those it has not looked at never count."""

    max_age_seconds: Seconds | None = Field(default=None, description="Seconds until they go. Unset: as all records.")
    then: Literal["delete", "stills"] = Field(
        default="delete", description="What becomes of them: delete, or stills, one picture of each segment stays."
    )


class FloorSettings(Section):
    """What goes while less of the disk is free than it should be."""

    order: list[FloorClass] = Field(
        default=["render_cache", "video", "thumbnails", "quiet", "kept"],
        max_length=5,
        description="What goes, class by class, the oldest first: render_cache, which is first or not there, video,"
        " thumbnails, quiet, and kept, which is all other records. What is left out never goes for the floor.",
    )
    last_resort: Literal["block", "delete_oldest"] = Field(
        default="block",
        description="Where that is not enough: block, no record is taken and edges keep theirs, or delete_oldest, also"
        " what min_age_seconds protects.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.order)) < len(self.order):
            raise ValueError("order names a class twice: each can go once")
        if "render_cache" in self.order[1:]:
            raise ValueError("order names render_cache after others: it costs least, so it goes first or not at all")
        return self


class HoldSettings(Section):
    """What holds may keep."""

    max_fraction: Fraction = Field(
        default=0.5,
        description="Part of the disk that all holds together may keep, 0 to 1. A hold that would keep more is refused;"
        " one that grows beyond it later is reported.",
    )


class CameraRetentionSettings(Section):
    """What is different for one camera: each field that is set takes the place of the common one."""

    name: str = Field(description="Which camera.")
    records: TierSettings | None = Field(default=None, description="Its records.")
    video: TierSettings | None = Field(default=None, description="Its MP4 files.")
    thumbnails: TierSettings | None = Field(default=None, description="Its thumbnails.")
    index: IndexSettings | None = Field(default=None, description="What detectors found of it.")
    keep: list[KeepSettings] | None = Field(default=None, description="Its rules, instead of the common ones.")
    quiet: QuietSettings | None = Field(default=None, description="Its quiet records.")


class RetentionSettings(Section):
    """What is deleted when. Without any of it only the floor: the oldest go when the disk is nearly full."""

    total: TotalSettings = Field(default=TotalSettings(), description="What all cameras together may take.")
    records: TierSettings = Field(default=TierSettings(), description="Records and their key frames.")
    video: TierSettings = Field(default=TierSettings(), description="MP4 files, which can be made again from records.")
    thumbnails: TierSettings = Field(default=TierSettings(), description="Thumbnails, which can be made again.")
    index: IndexSettings = Field(default=IndexSettings(), description="What detectors found.")
    keep: list[KeepSettings] = Field(default=[], max_length=64, description="What makes records worth keeping.")
    quiet: QuietSettings = Field(default=QuietSettings(), description="Records in which nothing was found.")
    floor: FloorSettings = Field(default=FloorSettings(), description="What goes while the disk is too full.")
    holds: HoldSettings = Field(default=HoldSettings(), description="What holds may keep.")
    cameras: list[CameraRetentionSettings] = Field(
        default=[], max_length=10_000, description="What is different for some cameras."
    )
    ballast_bytes: Bytes = Field(
        default=64 << 20,
        description="Bytes of a file beside an SQLite database that is given up when the disk is full, so that"
        " deletions can be noted; 0 for none.",
    )

    def of(self, camera: str) -> RetentionSettings:
        """The settings as they are for one camera."""
        own = next((each for each in self.cameras if each.name == camera), None)
        if own is None:
            return self
        changed: dict[str, object] = {}
        for name in own.model_fields_set - {"name"}:
            common, value = getattr(self, name), getattr(own, name)
            if isinstance(value, Section):
                fields = {field: getattr(value, field) for field in value.model_fields_set}
                changed[name] = common.model_copy(update=fields)
            elif value is not None:
                changed[name] = value
        return self.model_copy(update=changed)

    @model_validator(mode="after")
    def _ages_fit(self) -> Self:
        names = [each.name for each in self.cameras]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"cameras: {twice!r} stands there twice: give each camera one entry")
        for camera in ("", *names):
            where, found = f"cameras.{camera}." if camera else "", self.of(camera)
            for name in ("records", "video", "thumbnails"):
                tier: TierSettings = getattr(found, name)
                longest = found.records.max_age_seconds if tier.max_age_seconds is None else tier.max_age_seconds
                if longest is not None and tier.min_age_seconds > longest:
                    raise ValueError(
                        f"{where}{name}: min_age_seconds is {tier.min_age_seconds:g} and max_age_seconds {longest:g}:"
                        " what must not go for so long cannot be gone before"
                    )
            _check_index(where, found)
            quiet, least = found.quiet.max_age_seconds, found.records.min_age_seconds
            if quiet is not None and least > quiet:
                raise ValueError(
                    f"{where}records.min_age_seconds is {least:g} and {where}quiet.max_age_seconds {quiet:g}: what must"
                    " not go for so long cannot be gone before"
                )
        return self


def _check_index(where: str, found: RetentionSettings) -> None:
    """Checks that what ``keep`` asks for is still there when it is asked for.

    Raises:
        ValueError: it is not.
    """
    index, records = found.index.max_age_seconds, found.records.max_age_seconds
    if index is None or not found.keep:
        return
    longer = records is not None and any((rule.max_age_seconds or 0) > records for rule in found.keep)
    for name, asked in (
        ("quiet.max_age_seconds", found.quiet.max_age_seconds),
        ("records.max_age_seconds", records if longer else None),
    ):
        if asked is not None and asked > index:
            raise ValueError(
                f"{where}index.max_age_seconds is {index:g} and {where}{name} {asked:g}: what was found must stay until"
                " keep was asked about it"
            )
