"""What a camera may spend: bits that come in at a steady rate and go out a record at a time."""

from __future__ import annotations

BURST_SECONDS = 0.3
"""What may be saved up: a pause must not be followed by a flood."""
DEBT_SECONDS = 0.4
"""How long one large record may silence the camera."""
REPAID = 0.7
"""Part of the income that goes into what a larger record costs beyond that."""


class TokenBucket:
    """An account in bits. A record may overdraw it, as its size is known only once it is coded.

    Over time exactly the rate is spent. An I record can cost as much as seconds of P records: what exceeds
    ``DEBT_SECONDS`` of the rate is paid back in small parts, so that frames go on meanwhile.
    """

    def __init__(self) -> None:
        self._balance = 0.0
        self._owed = 0.0
        self._full = False

    @property
    def open(self) -> bool:
        """Whether a record may be coded now."""
        return self._balance >= 0

    @property
    def full(self) -> bool:
        """Whether as much is saved up as may be."""
        return self._full

    def earn(self, rate: float, seconds: float) -> None:
        """Income of so many seconds at ``rate`` bits a second."""
        income = rate * seconds
        repaid = min(self._owed, REPAID * income)
        self._owed -= repaid
        most = rate * BURST_SECONDS
        self._balance = min(most, self._balance + income - repaid)
        self._full = self._balance >= most

    def spend(self, bits: float, rate: float) -> None:
        """A record cost so many bits."""
        self._balance -= bits
        beyond = -rate * DEBT_SECONDS - self._balance
        if beyond > 0:
            self._balance += beyond
            self._owed += beyond

    def forgive(self) -> None:
        """Starts anew, with nothing saved and nothing owed."""
        self._balance = self._owed = 0.0
