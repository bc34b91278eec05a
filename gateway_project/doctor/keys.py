"""Check that secrets can be opened with the keys of this host."""

from __future__ import annotations

from collections import defaultdict

from django.utils.translation import gettext as _

from gateway_project.doctor.facts import Facts
from gateway_project.doctor.findings import Finding, Findings
from gateway_project.lib.keyring import KeyringError
from gateway_project.lib.sealing import SealError, key_id_of
from responses_api.models import WebhookEndpoint
from responses_api.webhooks import endpoints
from routing import credentials
from routing.models import Credential
from tenants.keys import fingerprints, peppers


def check_keyrings() -> Findings:
    for subject, load in (
        ("key-encryption keys", credentials.keyring),
        ("key peppers", peppers.keyring),
    ):
        try:
            ring = load()
            ring.reload()  # judge what is there now, not what this process has in memory
        except (KeyringError, OSError) as error:
            yield Finding("broken", subject, str(error))
            continue
        yield Finding(
            "ok",
            subject,
            _("%(count)s known, '%(current)s' in use")
            % {"count": len(ring.all()), "current": ring.current[0]},
        )


def check_key_fingerprints(facts: Facts) -> Findings:
    """Check that this host's keys are the database's, and that its rows can be opened with them."""
    known_here: dict[str, dict[str, str]] = defaultdict(dict)
    for kind, key_id, digest in facts.fingerprints:
        known_here[kind][key_id] = digest
    for kind, load in (
        (fingerprints.PEPPER, peppers.keyring),
        (fingerprints.ENCRYPTION, credentials.keyring),
    ):
        try:
            fingerprints.refuse_foreign(kind, load(), known_here[kind])
        except (KeyringError, OSError) as error:
            yield Finding("broken", "key files", str(error))
    known = peppers.keyring().all()
    if names := sorted((facts.secrets.keys() | facts.tokens.keys()) - known.keys()):
        message = _(
            "%(count)s API key secrets and %(count_2)s API tokens were made with a pepper this host "
            "does not have ('%(names)s'), so they get 401 here. Copy the pepper from the host that has "
            "it"
        ) % {
            "count": sum(facts.secrets.get(name, 0) for name in names),
            "count_2": sum(facts.tokens.get(name, 0) for name in names),
            "names": names[0],
        }
        yield Finding("broken", "key peppers", message)


def check_credentials() -> Findings:
    by_key: dict[str, int] = defaultdict(int)
    for credential in Credential.objects.select_related("provider").order_by("pk").iterator():
        problem = _problem_of(credential)
        if problem is not None:
            yield Finding("broken", f"credential of {credential.provider}", problem)
        else:
            by_key[key_id_of(credential.sealed_secret)] += 1
    for key_id, count in sorted(by_key.items()):
        yield Finding(
            "ok",
            "credentials",
            _("%(count)s can be opened with the key '%(key_id)s'")
            % {"count": count, "key_id": key_id},
        )


def _problem_of(credential: Credential) -> str | None:
    """Return why it cannot be opened and what to do about it; None if it can be opened."""
    try:
        credentials.reveal(credential)
    except (KeyringError, SealError, OSError) as error:
        return _("%(error)s Bring that key back, or enter the secret again.") % {"error": error}
    return None


def check_webhooks() -> Findings:
    rows = WebhookEndpoint.objects.filter(enabled=True).order_by("pk")
    for endpoint in rows.iterator():
        try:
            endpoints.signing_secrets(endpoint)
        except (KeyringError, SealError, OSError) as error:
            message = _("%(error)s Bring that key back, or rotate the endpoint's secret.") % {
                "error": error
            }
            yield Finding("broken", f"webhook endpoint {endpoint.pk}", message)
