"""A keeper whose disk can be full."""

import pytest

from gateway import StoreError
from gateway.upstream.database import HubDatabase


class LimitedKeeper(HubDatabase):
    """A database that takes no change while it is `full`; `writes` counts those that it took."""

    full = False
    writes = 0

    def write(self, changes):
        """Refuse, or write."""
        if self.full:
            raise StoreError("IoT Hub cannot store the change: disk is full", "make room on the disk of --state")
        super().write(changes)
        self.writes += 1


@pytest.fixture
def keeper(tmp_path):
    """A database in a folder of its own, closed afterwards."""
    database = LimitedKeeper(tmp_path / "hub.db")
    yield database
    database.release()
