"""What detectors found may be deleted before the records that it was found in."""

from __future__ import annotations

from sqlalchemy import Connection, select

from cloud_service.database.retention_tables import ForgottenRow
from cloud_service.database.tables import RecordSegmentRow
from icm.errors import FrameDeletedError
from icm.frame_id import FrameId


def check_not_forgotten(connection: Connection, key: FrameId) -> None:
    """Checks that what was found in a frame, of which there is no event, was not deleted.

    Raises:
        FrameDeletedError: it may have been.
    """
    of = RecordSegmentRow
    query = (
        select(ForgottenRow.last_us)
        .join(RecordSegmentRow, of.camera == ForgottenRow.camera)
        .where(
            of.camera == key.camera,
            of.epoch == key.epoch,
            of.first_sequence <= key.sequence,
            of.last_sequence >= key.sequence,
            of.last_capture_us <= ForgottenRow.last_us,
        )
        .limit(1)
    )
    if connection.execute(query).first() is not None:
        raise FrameDeletedError(
            f"what was found in frame {key.sequence} of camera {key.camera!r}, epoch {key.epoch}, was deleted by rule"
            " index.max_age_seconds; the frame is still there"
        )
