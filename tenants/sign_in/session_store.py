"""Keep console sessions so that the database alone opens none.

A row is found by a keyed digest of its cookie, and what it holds is sealed: a form that waits for
re-authentication may carry a secret, and a second factor that is being set up does. A session ends after
some time without a request, and at an instant fixed when it began.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import DatabaseError, IntegrityError, router, transaction
from django.db.models import Q
from django.utils.crypto import salted_hmac

from gateway_project.lib import clock, sealing
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.prepared import PreparedQuery
from gateway_project.lib.secret import Secret
from tenants.keys.encryption import keyring
from tenants.models import ConsoleSession

# What a session says about itself; `tenants/sign_in/sessions.py` writes it when somebody signs in.
BEGAN, ADDRESS, BROWSER = "tollgate.began", "tollgate.address", "tollgate.browser"
USER = "_auth_user_id"  # Django's


def clear_ended() -> Iterator[None]:
    """Delete the rows of sessions that have ended. A periodic job."""
    now = clock.now()
    ended = Q(expire_date__lte=now) | Q(seen_at__lte=now - settings.SESSION_IDLE)
    ConsoleSession.objects.filter(ended).delete()
    yield


def digest_of(cookie: str) -> str:
    """Return the primary key of the session with this cookie."""
    return salted_hmac("tollgate.session", cookie, algorithm="sha256").hexdigest()[:40]


def read(session_id: str) -> dict[str, Any] | None:
    """Return the data of a session by its primary key; None if it has ended."""
    row = _running(session_id)
    return None if row is None else _open(row.session_data, session_id)


_OF_ID = PreparedQuery(lambda session_id: ConsoleSession.objects.filter(pk=session_id))


def _running(session_id: str) -> ConsoleSession | None:
    now = clock.now()
    return next((each for each in _OF_ID.rows(session_id) if _is_running(each, now)), None)


def _is_running(session: ConsoleSession, now: datetime) -> bool:
    return session.expire_date > now and session.seen_at > now - settings.SESSION_IDLE


def _open(sealed: str, session_id: str) -> dict[str, Any]:
    """Open a session's data. What cannot be opened is no session, as with a key that is gone."""
    try:
        found: dict[str, Any] = orjson.loads(
            sealing.unseal(sealed, _place(session_id), keyring()).reveal()
        )
    except (sealing.SealError, KeyringError):
        return {}
    return found


def _place(session_id: str) -> str:
    return f"tenants_consolesession|session_data|{session_id}"


class SessionStore(DatabaseStore):
    """Django's database sessions, found by digest and sealed. The console is synchronous: so is this."""

    seen_at: datetime | None = None

    @classmethod
    def get_model_class(cls) -> Any:
        return ConsoleSession

    def load(self) -> dict[str, Any]:
        """Return the data of a session that has not ended; nothing for all others."""
        row = _running(digest_of(self.session_key or ""))
        if row is None:
            self._session_key = None
            return {}
        self.seen_at = row.seen_at
        return self.decode(row.session_data)

    def exists(self, session_key: str) -> bool:
        return ConsoleSession.objects.filter(pk=digest_of(session_key)).exists()

    def save(self, must_create: bool = False) -> None:
        """Write the session; a row that was ended meanwhile is not written again."""
        if self.session_key is None:
            return self.create()
        row = self.create_model_instance(self._get_session(no_load=must_create))  # type: ignore[attr-defined]
        using = router.db_for_write(ConsoleSession)
        try:
            with transaction.atomic(using=using):
                row.save(force_insert=must_create, force_update=not must_create, using=using)
        except IntegrityError:
            if must_create:
                raise CreateError from None
            raise
        except DatabaseError:
            if not must_create:
                raise UpdateError from None
            raise
        return None

    def create_model_instance(self, data: dict[str, Any]) -> ConsoleSession:
        """Return the row to write. Its end does not move: it is counted from when the session began."""
        now = clock.now()
        began = datetime.fromtimestamp(data[BEGAN], UTC) if BEGAN in data else now
        return ConsoleSession(
            session_key=digest_of(self._get_or_create_session_key()),  # type: ignore[attr-defined]
            session_data=self.encode(data),
            expire_date=began + settings.SESSION_LIFETIME,
            user_id=data.get(USER),
            address=str(data.get(ADDRESS, ""))[:64],
            browser=str(data.get(BROWSER, ""))[:200],
            began_at=began,
            seen_at=now,
        )

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            ConsoleSession.objects.filter(pk=digest_of(key)).delete()

    def encode(self, session_dict: Mapping[str, Any]) -> str:
        plain = orjson.dumps(dict(session_dict)).decode()
        return sealing.seal(Secret(plain), _place(digest_of(self.session_key or "")), keyring())

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        return _open(str(session_data), digest_of(self.session_key or ""))

    def touch(self) -> None:
        """Note that the session is in use."""
        self.seen_at = clock.now()
        rows = ConsoleSession.objects.filter(pk=digest_of(self.session_key or ""))
        rows.update(seen_at=self.seen_at)
