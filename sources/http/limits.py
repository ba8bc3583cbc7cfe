"""The rate limiter: one bucket of tokens a host, shared by every thread of the process."""

from __future__ import annotations

import threading
import time
from collections import deque

MINUTE = 60.0


class Bucket:
    """Tokens of one host. A token comes back one minute after it was spent.

    So no minute, wherever it begins, sees more than `per_minute` spent: a bucket that refills at a steady rate lets
    nearly twice as much through in its first minute, which a strict API answers with 429.
    """

    def __init__(self, per_minute: int | None = None) -> None:
        self.per_minute = per_minute
        self._spent: deque[tuple[float, int]] = deque()
        self._total = 0
        self._blocked_until = 0.0
        self.gave_up_at: float | None = None
        """When a request was last given up (monotonic seconds); None once the host answers again."""
        self._lock = threading.Lock()

    def blocked(self) -> float:
        """Seconds for which the host has asked to be left alone."""
        with self._lock:
            return max(self._blocked_until - time.monotonic(), 0.0)

    def reserve(self, weight: int) -> float:
        """Take the tokens if they are there and return 0; otherwise the seconds after which to ask again."""
        with self._lock:
            now = time.monotonic()
            if self._blocked_until > now:
                return self._blocked_until - now
            self._expire(now)
            if self.per_minute and self._spent and self._total + weight > self.per_minute:
                return self._until_free(self._total + weight - self.per_minute, now)
            self._spend(now, weight)
            return 0.0

    def observe(self, used: int) -> None:
        """Believe a server that counts more than we spent: others share this address's allowance."""
        with self._lock:
            now = time.monotonic()
            self._expire(now)
            if used > self._total:
                self._spend(now, used - self._total)

    def block(self, seconds: float) -> None:
        """Let nobody ask for so long: the host said so (Retry-After)."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, time.monotonic() + seconds)

    def _spend(self, now: float, weight: int) -> None:
        self._spent.append((now, weight))
        self._total += weight

    def _expire(self, now: float) -> None:
        while self._spent and self._spent[0][0] <= now - MINUTE:
            self._total -= self._spent.popleft()[1]

    def _until_free(self, needed: int, now: float) -> float:
        free_at = now
        for spent_at, weight in self._spent:
            free_at = spent_at + MINUTE
            needed -= weight
            if needed <= 0:
                break
        return max(free_at - now, 0.001)


_buckets: dict[str, Bucket] = {}
_registry_lock = threading.Lock()


def bucket_of(host: str, per_minute: int | None) -> Bucket:
    """Return the process's one bucket of a host. Two sources that name different limits share the smaller one."""
    with _registry_lock:
        bucket = _buckets.setdefault(host, Bucket(per_minute))
        if per_minute:
            bucket.per_minute = min(per_minute, bucket.per_minute or per_minute)
        return bucket
