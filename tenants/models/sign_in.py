"""Console sessions: who is signed in, from where, and since when."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock


class ConsoleSession(AbstractBaseSession):
    """One browser's session. Its primary key is a digest of the cookie, and its data is sealed."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        related_name="console_sessions",
    )
    address = models.CharField(max_length=64, blank=True)
    browser = models.CharField(max_length=200, blank=True)
    began_at = models.DateTimeField(default=clock.now)
    seen_at = models.DateTimeField(default=clock.now, db_index=True)

    class Meta(AbstractBaseSession.Meta):
        abstract = False
        verbose_name = _("session")  # type: ignore[assignment]  # the base has a text
        verbose_name_plural = _("sessions")  # type: ignore[assignment]  # as above
        ordering = ("-seen_at",)

    def __str__(self) -> str:
        return f"{self.user}, {self.address or 'unknown address'}"

    @classmethod
    def get_session_store_class(cls) -> Any:
        """Return the store that reads and writes these rows."""
        return import_string(f"{settings.SESSION_ENGINE}.SessionStore")
