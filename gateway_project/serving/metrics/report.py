"""Put together what Prometheus is told of this host."""

from __future__ import annotations

import functools
import hmac
import threading
from pathlib import Path

from django.conf import settings

from gateway_project.lib.metrics.exposition import OPEN_METRICS, format_for, in_open_metrics, render
from gateway_project.lib.metrics.names import GEN_AI_VIEW, TENANTS_VIEW
from gateway_project.lib.metrics.snapshots import add_up
from gateway_project.lib.secret import Secret
from gateway_project.serving.metrics.finding import Finder

# While a database does not answer, those who ask must not use up a worker's threads by waiting.
PATIENCE_SECONDS = 5.0


class Report:
    """Metrics of all processes of this host. One at a time puts them together; safe for threads."""

    def __init__(
        self, directory: Path, spools: Path, views: frozenset[str], most_series: int
    ) -> None:
        self._directory = directory
        self._views = views
        self._most_series = most_series
        self._finder = Finder(spools)
        self._lock = threading.Lock()

    def in_format(self, accept: str) -> tuple[str, bytes]:
        """Return content type and text in the format that an `Accept` header wants. Raise OSError."""
        kind, text = format_for(accept), self.text()
        return kind, in_open_metrics(text) if kind == OPEN_METRICS else text

    def text(self) -> bytes:
        """Return it in Prometheus's text format. Raise OSError."""
        if not self._lock.acquire(timeout=PATIENCE_SECONDS):
            raise TimeoutError("they are still put together for whoever asked before")
        try:
            sums = add_up(self._directory, self._most_series)
            found = self._finder.find(sums.living)
        finally:
            self._lock.release()
        return render(sums.rows, sums.dropped, found, self._views)


@functools.cache
def from_settings() -> Report:
    """Return the report of this process."""
    views = {TENANTS_VIEW: settings.METRICS_TENANTS, GEN_AI_VIEW: settings.METRICS_GEN_AI}
    return Report(
        settings.METRICS_DIR,
        settings.SPOOL_DIR,
        frozenset(name for name, is_asked_for in views.items() if is_asked_for),
        settings.METRICS_SERIES,
    )


def may_read(authorization: bytes, token: Secret) -> bool:
    """Tell whether a request's `Authorization` has the token; takes as long whatever it has."""
    scheme, _, given = authorization.partition(b" ")
    is_right = hmac.compare_digest(given.strip(), token.reveal().encode())
    return is_right and scheme.lower() == b"bearer"
