"""Check what people have set up: providers, aliases, tenants and who may sign in."""

from __future__ import annotations

from django.conf import settings
from django.utils.translation import gettext as _

from gateway_project.doctor.facts import Facts
from gateway_project.doctor.findings import Finding, Findings


def check_console(facts: Facts) -> Findings:
    """Check that somebody can sign in to the console, and that alerts can reach them."""
    if not facts.has_operator:
        message = _("there is no operator; run manage.py create_operator NAME")
        yield Finding("hint", "console", message)
    told = facts.budgets_with_mail
    if told and settings.SMTP_URL is None:
        message = _(
            "%(told)s budgets have alert addresses, but TOLLGATE_SMTP_URL is not set, so that no "
            "e-mail is sent"
        ) % {"told": told}
        yield Finding("hint", "mail", message)


def check_providers(facts: Facts) -> Findings:
    for name in facts.providers_without_credential:
        message = _("has no enabled credential, calls to it fail")
        yield Finding("hint", f"provider {name}", message)
    for tenant, provider in facts.lent_providers:
        message = _(
            "tenant %(tenant)s has its own credential for it, whose calls cost nothing: if the "
            "provider accepts any credential, turn off 'allow tenant credentials'"
        ) % {"tenant": tenant}
        yield Finding("hint", f"provider {provider}", message)
    yield _enabled("providers", facts.providers)


def check_aliases(facts: Facts) -> Findings:
    for name, platform_alias in facts.aliases_to_nowhere:
        message = _("has no target whose provider is enabled")
        if platform_alias is not None:
            message = _(
                "links to %(platform_alias)s, which is disabled, so calls get model_not_found"
            ) % {"platform_alias": platform_alias}
        yield Finding("hint", f"alias {name}", message)
    yield from _legacy_targets(facts)
    yield _enabled("aliases", facts.aliases)


def _legacy_targets(facts: Facts) -> Findings:
    """Report tenants' aliases that predate links, and prices published under those names."""
    for slug, alias, provider, upstream_id in facts.legacy_targets:
        message = _(
            "of tenant %(slug)s leads to the platform's %(provider_model)s without one of its aliases, "
            "and is charged at that model's price; make it a link: add_alias --link"
        ) % {"slug": slug or "", "provider_model": f"{provider}/{upstream_id}"}
        yield Finding("hint", f"alias {alias}", message)
    for model, slug in facts.uncharged:
        whose = f"for tenant {slug}" if slug else "for every tenant"
        message = _(
            "%(whose)s applies to no call: only a tenant's alias has that name. Publish it for the "
            "platform's alias, for provider/model, or for * (calls to tenants' own providers)"
        ) % {"whose": whose}
        yield Finding("hint", f"price of {model}", message)


def _enabled(subject: str, count: int) -> Finding:
    return Finding("ok" if count else "hint", subject, _("%(count)s enabled") % {"count": count})


def check_tenants(facts: Facts) -> Findings:
    for slug in facts.tenants_without_key:
        message = _("has no key; manage.py create_key --tenant %(slug)s --name first") % {
            "slug": slug
        }
        yield Finding("hint", f"tenant {slug}", message)
    count = facts.tenants
    message = f"{count}" if count else "none yet; run manage.py quickstart or create_tenant"
    yield Finding("ok" if count else "hint", "tenants", message)
    for kept in facts.kept_owners:
        message = _(
            "%(username)s is its last owner, though the groups at its identity provider give less "
            "since %(since)s; make somebody else an owner"
        ) % {"username": kept.username, "since": format(kept.since, "%Y-%m-%d")}
        yield Finding("hint", f"tenant {kept.slug}", message)
