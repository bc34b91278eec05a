"""The form of a budget: dollars, percentages and addresses as people write them."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenants.budgets import dollars
from tenants.console.scoped_forms import TenantForm
from tenants.theme import LinesField, TextInput


class DollarsField(forms.CharField):
    """Dollars as text, nano-dollars as the value."""

    widget = TextInput

    def prepare_value(self, value: Any) -> Any:
        return dollars.to_text(value) if isinstance(value, int) else value

    def clean(self, value: Any) -> int:
        text = super().clean(value)
        try:
            return dollars.to_nano(text.removeprefix("$"))
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class PercentagesField(forms.CharField):
    """Takes whole percentages with commas between them; a list of numbers as the value."""

    widget = TextInput

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> list[int]:
        parts = [each.strip(" %") for each in str(super().clean(value)).split(",")]
        if not all(each.isascii() and each.isdecimal() and len(each) < 6 for each in parts if each):
            raise ValidationError(_("Write percentages with commas between them: 50, 80, 100."))
        return [int(each) for each in parts if each]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class BudgetForm(TenantForm):
    amount_nano = DollarsField(
        label=gettext_lazy("Amount ($)"),
        help_text=gettext_lazy("In dollars per period, for example 25.00."),
    )
    thresholds = PercentagesField(
        label=gettext_lazy("Thresholds (%)"),
        required=False,
        initial="50, 80, 100",
        help_text=gettext_lazy(
            "Shares of the amount at which alerts are sent, such as 50, 80, 100."
        ),
    )
    alert_emails = LinesField(
        label=gettext_lazy("Alerts go to"),
        required=False,
        rows=3,
        help_text=gettext_lazy("E-mail addresses, one a line."),
    )
