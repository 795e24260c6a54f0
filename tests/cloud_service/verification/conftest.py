"""The store with chains that the tests of proof have."""

from tests.cloud_service.proof.conftest import made, store

__all__ = ["made", "store"]
