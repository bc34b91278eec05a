"""Serve static files, which are looked for when one is first asked for."""

from __future__ import annotations

import threading
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware


class LateStaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]  # whitenoise has no types
    """WhiteNoise's middleware; by itself it looks for two hundred files at each start of a gateway that may
    never be asked for a page.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._looking = threading.Lock()
        self._is_to_look = False
        super().__init__(*arguments, **options)

    def add_files_from_finders(self) -> None:
        self._is_to_look = True

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if self._is_to_look and request.path_info.startswith(self.static_prefix):
            self._look()
        response: HttpResponseBase = super().__call__(request)
        return response

    def _look(self) -> None:
        """Find the files, in the thread of the first request for one; others wait for it."""
        with self._looking:
            if self._is_to_look:
                super().add_files_from_finders()
                self._is_to_look = False
