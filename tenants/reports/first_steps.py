"""List the first steps in a new installation or tenant, and tell from the data which are done.

Apps above this one add steps of their own with `register`. Steps are looked for only while the guide is
shown, until a first request was answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import F, Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from tenants.access.access import Access
from tenants.access.rights import Area
from tenants.models import ApiKey, Invitation, Membership, ModelHour

Tenants = frozenset[int] | None  # None: all there are


@dataclass(frozen=True, slots=True)
class StepQuestion:
    """Hold who asks, and of which tenants."""

    who: Access
    user: AbstractBaseUser | AnonymousUser
    tenants: Tenants


@dataclass(frozen=True, slots=True)
class FirstStep:
    """A step: its place among the others, what it is called and why it is done, the page that does it (by
    name), and what tells that it is done. `area`: whoever may add to it sees the step; None: everybody.

    A step with a `button` is done at once, by a POST to its page; `about` returns what that page is about, or
    nothing where there is nothing to do it to.
    """

    place: int
    title: str | Promise
    hint: str | Promise
    page: str
    is_done: Callable[[StepQuestion], bool]
    area: Area | None = None
    button: str | Promise = ""
    about: Callable[[StepQuestion], tuple[str, ...]] = lambda asked: ()


@dataclass(frozen=True, slots=True)
class ShownStep:
    """A step as it stands for whoever asks."""

    title: str | Promise
    hint: str | Promise
    page: str
    about: tuple[str, ...]
    button: str | Promise
    is_done: bool


_steps: dict[int, FirstStep] = {}


def register(step: FirstStep) -> None:
    """Add a step, or replace the one in its place."""
    _steps[step.place] = step


def first_steps(asked: StepQuestion) -> list[ShownStep]:
    """Return the steps in their order, without those that whoever asks may not take."""
    return [
        ShownStep(
            step.title,
            step.hint,
            step.page,
            step.about(asked),
            step.button,
            step.is_done(asked),
        )
        for _, step in sorted(_steps.items())
        if step.area is None or _may(asked, step.area)
    ]


def was_anything_answered(tenants: Tenants) -> bool:
    """Tell whether any call of these tenants was answered."""
    answered = ModelHour.objects.filter(calls__gt=F("failed") + F("abandoned"))
    return (answered if tenants is None else answered.filter(tenant__in=tenants)).exists()


def _may(asked: StepQuestion, area: Area) -> bool:
    tenants: Iterable[int | None] = (None,) if asked.tenants is None else asked.tenants
    return any(asked.who.may("add", area, tenant) for tenant in tenants)


def _of(asked: StepQuestion) -> Q:
    return Q() if asked.tenants is None else Q(tenant__in=asked.tenants)


def _has_key(asked: StepQuestion) -> bool:
    # A key that only the quickstart made, and nobody has used, is none of one's own.
    used = ~Q(name="quickstart") | Q(last_used_at__isnull=False)
    return ApiKey.objects.filter(_of(asked), used, revoked_at=None).exists()


def _has_second_factor(asked: StepQuestion) -> bool:
    return bool(asked.user.pk) and asked.user.authenticator_set.exists()  # type: ignore[union-attr]


def _has_colleagues(asked: StepQuestion) -> bool:
    return (
        Membership.objects.filter(_of(asked)).exclude(user=asked.user.pk).exists()
        or Invitation.objects.filter(_of(asked)).exists()
    )


register(
    FirstStep(
        place=40,
        title=_("Make an API key"),
        hint=_("Its secret is shown once; clients send it with each request."),
        page="admin:tenants_apikey_add",
        is_done=_has_key,
        area=Area.KEYS,
    )
)
register(
    FirstStep(
        place=50,
        title=_("Make a first request"),
        hint=_("Its tokens, charge and duration stand here some seconds later."),
        page="admin:tenants_apikey_changelist",
        is_done=lambda asked: was_anything_answered(asked.tenants),
    )
)
register(
    FirstStep(
        place=60,
        title=_("Set up a second factor"),
        hint=_("An authenticator app or a passkey, so that a password alone opens nothing."),
        page="mfa_index",
        is_done=_has_second_factor,
    )
)
register(
    FirstStep(
        place=70,
        title=_("Invite somebody"),
        hint=_("By mail or with a link, in a role that says what they may do."),
        page="admin:tenants_invitation_add",
        is_done=_has_colleagues,
        area=Area.MEMBERS,
    )
)
