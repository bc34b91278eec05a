"""Define prices of tokens and other units: versions that never change once they are published.

Keyed by names, not by rows of routing: a price outlives the provider or alias it was made for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from gateway_project.lib import clock
from tenants import units
from tenants.models.accounts import Tenant
from tenants.revision import RevisionedModel, RevisionedQuerySet

PUBLISHED = "A published price never changes; publish another version."


class PriceQuerySet(RevisionedQuerySet[Any]):
    """Refuses what would change published prices; the database's triggers refuse it a second time."""

    def update(self, **values: Any) -> int:
        self._refuse_published()
        return super().update(**values)

    def delete(self) -> tuple[int, dict[str, int]]:
        self._refuse_published()
        return super().delete()

    def bulk_create(self, objs: Iterable[Any], *args: Any, **options: Any) -> list[Any]:
        rows = list(objs)
        if any(row.is_frozen for row in rows):
            raise ValidationError(PUBLISHED)
        return super().bulk_create(rows, *args, **options)

    def _refuse_published(self) -> None:
        published = {f"{self.model.VERSION_PATH}published_at__isnull": False}
        if self.filter(**published).exists():
            raise ValidationError(PUBLISHED)


class PriceRow(RevisionedModel):
    """A row that stays as it is once its version is published."""

    VERSION_PATH = ""  # from the row to its version

    # What a plugin takes for an instance's variable is the class's, as above it.
    objects = PriceQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        abstract = True

    @property
    def is_frozen(self) -> bool:
        """Tell whether its version is published, as the database has it."""
        raise NotImplementedError

    def save(self, *args: Any, **options: Any) -> None:
        if self.is_frozen:
            raise ValidationError(PUBLISHED)
        super().save(*args, **options)

    def delete(self, *args: Any, **options: Any) -> tuple[int, dict[str, int]]:
        if self.is_frozen:
            raise ValidationError(PUBLISHED)
        return super().delete(*args, **options)


def _is_published(version_id: int | None) -> bool:
    if version_id is None:
        return False
    return PriceVersion.objects.filter(pk=version_id, published_at__isnull=False).exists()


class PriceVersion(PriceRow):
    """The prices of one provider model (what it costs us) or of one alias (what we charge) from an instant
    on, until the next version of the same subject. A draft while `published_at` is empty."""

    class Book(models.TextChoices):
        COST = "cost", _("Cost: what a provider charges us")
        CHARGE = "charge", _("Charge: what we charge tenants")

    book = models.CharField(max_length=8, choices=Book.choices)
    tenant = models.ForeignKey(
        Tenant,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text=_("Charge book only. Empty: for every tenant that has no price of its own."),
    )
    provider = models.CharField(
        max_length=63, blank=True, help_text=_("Cost book only: the provider's name.")
    )
    model = models.CharField(
        max_length=300,
        help_text=_(
            "Cost book: the provider's name for the model. Charge book: an alias of the platform, "
            "provider/model where it is reached without one, or * for providers that tenants bring."
        ),
    )
    effective_from = models.DateTimeField(
        help_text=_("For calls opened from then on; not before it is published.")
    )
    source = models.CharField(
        max_length=200,
        blank=True,
        help_text=_("Where it is from, for example a package and its version."),
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)
    published_at = models.DateTimeField(null=True, editable=False)
    published_by = models.CharField(max_length=200, blank=True, editable=False)

    class Meta:
        ordering = ("book", "provider", "model", "-effective_from")
        constraints = (
            models.UniqueConstraint(
                fields=("book", "tenant", "provider", "model", "effective_from"),
                condition=Q(published_at__isnull=False),
                name="one_published_price_of_tenant_per_instant",
                violation_error_message="Another version takes effect at the same time.",
            ),
            models.UniqueConstraint(
                fields=("book", "provider", "model", "effective_from"),
                condition=Q(published_at__isnull=False, tenant=None),
                name="one_published_price_per_instant",
                violation_error_message="Another version takes effect at the same time.",
            ),
            models.CheckConstraint(
                condition=Q(book="charge", provider="")
                | (Q(book="cost", tenant=None) & ~Q(provider="")),
                name="price_subject_fits_its_book",
                violation_error_message=(
                    "A cost is of a provider's model, a charge is of an alias and may be one tenant's."
                ),
            ),
        )

    def __str__(self) -> str:
        book = str(self.get_book_display()).split(":")[0]
        return gettext("%(book)s of %(subject)s") % {"book": book, "subject": self.subject}

    @property
    def subject(self) -> str:
        return f"{self.provider}/{self.model}" if self.provider else self.model

    @property
    def is_frozen(self) -> bool:
        return _is_published(self.pk)


class PriceLine(PriceRow):
    """The price of one class of the registry (tenants/units.py), of tokens or of another unit. For the whole
    call counts the line with the highest threshold that its input exceeds; where a class has none of its own,
    the registry says which stands in."""

    version = models.ForeignKey(PriceVersion, models.CASCADE, related_name="lines")
    # The choices are a function, so that a further unit needs no migration.
    token_class = models.CharField("class", max_length=24, choices=units.choices)
    service_tier = models.CharField(
        max_length=32,
        default="default",
        help_text=_("As the provider names it, such as flex or priority."),
    )
    above_tokens = models.PositiveBigIntegerField(
        default=0,
        help_text=_("Applies when the input of the call is longer than this many tokens."),
    )
    pico_per_token = models.BigIntegerField(
        "pico-dollars",
        validators=[MinValueValidator(0)],
        help_text=_(
            "US dollars times 10^12 per token, or per unit of another class: "
            "$3.00 per million tokens is 3000000."
        ),
    )

    VERSION_PATH = "version__"

    class Meta:
        ordering = ("version", "service_tier", "above_tokens", "token_class")
        constraints = (
            models.UniqueConstraint(
                fields=("version", "token_class", "service_tier", "above_tokens"),
                name="one_price_per_class_tier_and_threshold",
            ),
            models.CheckConstraint(
                condition=Q(pico_per_token__gte=0), name="price_is_not_negative"
            ),
        )

    def __str__(self) -> str:
        return f"{self.token_class} ({self.service_tier})"

    def get_inline_title(self) -> str:
        """Name the line above its fields on its version's page, as the theme asks it."""
        return gettext(units.of(self.token_class).label)

    @property
    def is_frozen(self) -> bool:
        return _is_published(self.version_id) or self._left_a_published_one()

    def _left_a_published_one(self) -> bool:
        return (
            self.pk is not None
            and PriceLine.objects.filter(pk=self.pk, version__published_at__isnull=False).exists()
        )
