"""Add the first steps that are about providers and aliases to those of a new installation."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from routing.models import Alias, Provider, UpstreamTest
from tenants.access.rights import Area
from tenants.reports.first_steps import FirstStep, StepQuestion, register


def _reachable(asked: StepQuestion) -> Q:
    """Return the condition of rows that these tenants' calls can use: the platform's and their own."""
    return Q() if asked.tenants is None else Q(tenant=None) | Q(tenant__in=asked.tenants)


def _has_provider(asked: StepQuestion) -> bool:
    return Provider.objects.filter(_reachable(asked), enabled=True).exists()


def _is_tested(asked: StepQuestion) -> bool:
    """Tell whether a provider has answered a test, of its list or of a model."""
    tested = Exists(UpstreamTest.objects.filter(provider=OuterRef("pk"), ok=True))
    return Provider.objects.filter(_reachable(asked), tested, enabled=True).exists()


def _untested(asked: StepQuestion) -> tuple[str, ...]:
    """Return which provider to test, and the page's action: the newest that they may change."""
    own = Q() if asked.tenants is None else Q(tenant__in=asked.tenants)
    newest = Provider.objects.filter(own, enabled=True).order_by("-pk").first()
    return () if newest is None else (str(newest.pk), "test_provider")


def _has_alias(asked: StepQuestion) -> bool:
    return Alias.objects.filter(_reachable(asked), enabled=True).exists()


PROVIDER = FirstStep(
    place=10,
    title=_("Have a provider"),
    hint=_(
        "The sandbox counts: it answers without a model, and costs nothing. Add a real one when you like."
    ),
    page="admin:provider_setup",
    is_done=_has_provider,
    area=Area.PROVIDERS,
)
TEST = FirstStep(
    place=20,
    title=_("Test the provider"),
    hint=_("It is asked for its models with its key, which costs nothing; the answer is shown."),
    page="admin:routing_provider_do",
    is_done=_is_tested,
    area=Area.PROVIDERS,
    button=_("Test"),
    about=_untested,
)
ALIAS = FirstStep(
    place=30,
    title=_("Have an alias"),
    hint=_("The name that clients ask for; one or more models stand behind it."),
    page="admin:routing_alias_changelist",
    is_done=_has_alias,
)
register(PROVIDER)
register(TEST)
register(ALIAS)
