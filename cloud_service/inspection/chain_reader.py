"""What a camera's chain says of one segment."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from cloud_service.database.damage import trouble
from cloud_service.proof.chain_file import ChainFile
from cloud_service.proof.chain_index import ChainIndex
from icm.errors import ProofError, StorageError, StoredDamageError, storage_error
from icm.proof.chain import Link
from icm.proof.entries import Entry, Leaf


class ChainReader:
    """Finds segments in chains. Thread-safe."""

    def __init__(self, folder: Path, index: ChainIndex) -> None:
        """Reads nothing yet.

        Args:
            folder: of the chains.
            index: which knows their blocks.
        """
        self._folder, self._index = folder, index

    def block_of(self, camera: str, number: int) -> Link | None:
        """The first block that speaks of a segment; None: none does yet.

        Raises:
            StorageError: the chain cannot be read, or the database does not answer.
            StoredDamageError: it is damaged there.
        """
        file = ChainFile(self._folder, camera)
        try:
            for place in self._index.blocks_of(camera, number, number):
                link = next(file.links_from(place), None)
                if link is not None and any(_is_leaf(entry, number) for entry in link.entries):
                    return link
        except SQLAlchemyError as error:
            raise StorageError(f"cannot find the chain of camera {camera!r}: {trouble(error)}") from None
        except ProofError:
            raise StoredDamageError(f"the chain of camera {camera!r} is damaged: run icm-cloud verify") from None
        except OSError as error:
            raise storage_error(error, file.path) from None
        return None


def _is_leaf(entry: Entry, number: int) -> bool:
    return isinstance(entry, Leaf) and entry.facts.number == number
