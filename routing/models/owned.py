"""Define what rows of the platform and rows of tenants have in common."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from tenants.models import Tenant
from tenants.revision import RevisionedModel

# Of a credential among those of its provider, and of a target among those of its position.
MAX_WEIGHT = 1000


class OwnedModel(RevisionedModel):
    """A row of the platform (no tenant) or of one tenant."""

    tenant = models.ForeignKey(
        Tenant,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text=_("Empty: the platform's, for every tenant."),
    )

    class Meta:
        abstract = True

    def check_may_use(self, other: OwnedModel, field: str) -> None:
        """Raise unless `other` belongs to the platform or to this row's tenant."""
        if other.tenant_id is not None and other.tenant_id != self.tenant_id:
            raise ValidationError(
                {field: gettext("Choose one that belongs to the platform or to the same tenant.")}
            )
