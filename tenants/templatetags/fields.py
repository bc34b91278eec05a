"""Write the tag of a form's field, and a tag's attributes, where a template includes one."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe

from tenants.console import form_renderer

register = template.Library()


@register.simple_tag(takes_context=True)
def input_tag(context: dict[str, Any]) -> SafeString:
    """Return the tag of the field that is being drawn."""
    return mark_safe(form_renderer.input_tag(context["widget"]))  # noqa: S308  # escaped


@register.simple_tag(takes_context=True)
def attributes(context: dict[str, Any]) -> SafeString:
    """Return the attributes of the field that is being drawn."""
    return mark_safe(form_renderer.attributes(context["widget"]["attrs"]))  # noqa: S308  # escaped
