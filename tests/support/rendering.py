"""Keep of what is rendered what tests read: the context of a page, not one of each of its thirty parts."""

from __future__ import annotations

from django.template import Context, Template
from django.test import utils
from django.test.signals import template_rendered


def keep_contexts_of_pages() -> None:
    """Let Django's test environment, once it is set up, tell of a whole template and of none it includes."""
    utils.instrumented_test_render = _rendered  # type: ignore[attr-defined]  # stubs leave it out


def _rendered(template: Template, context: Context) -> str:
    if context.template is template:  # else one that extends it, or includes it, was told of
        template_rendered.send(sender=template, template=template, context=context)
    return str(template.nodelist.render(context))
