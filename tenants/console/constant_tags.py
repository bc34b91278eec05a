"""Keep what a tag of a template says where that is the same on every page: a text in each language, the
address of a file or of a page that is about no one row.

Pages have fifty such tags, of which each would be looked up again. Nothing of a request or a person is kept.
settings.TEMPLATES puts these tags in the place of Django's, in the theme's templates too.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.template import Context, Library, defaulttags
from django.template.base import FilterExpression
from django.templatetags import i18n, static
from django.utils.translation import get_language

register = Library()
register.tags.update({**i18n.register.tags, **static.register.tags})
register.filters.update({**i18n.register.filters, **static.register.filters})


def _is_literal(expression: FilterExpression) -> bool:
    return isinstance(expression.var, str) and not expression.filters


class ConstantText(i18n.TranslateNode):
    """A text of the catalogue, of which there is one a language."""

    def __init__(self, translated: i18n.TranslateNode) -> None:
        self.__dict__.update(vars(translated))
        self._said: dict[str | None, Any] = {}

    def render(self, context: Context) -> Any:
        language = get_language()
        said = self._said.get(language)
        if said is None:
            said = self._said[language] = super().render(context)
        return said


class ConstantFile(static.StaticNode):
    """The address of a static file."""

    def __init__(self, node: static.StaticNode) -> None:
        super().__init__(node.varname, node.path)
        self._address: Any = None

    def render(self, context: Context) -> Any:
        if self._address is None:
            self._address = super().render(context)
        return self._address


class ConstantAddress(defaulttags.URLNode):
    """The address of a page, of which there is one in each table of routes."""

    def __init__(self, node: defaulttags.URLNode) -> None:
        super().__init__(node.view_name, node.args, node.kwargs, None)
        self._addresses: dict[tuple[str, str | None], Any] = {}

    def render(self, context: Context) -> Any:
        match = getattr(getattr(context, "request", None), "resolver_match", None)
        place = settings.ROOT_URLCONF, getattr(match, "namespace", None)
        address = self._addresses.get(place)
        if address is None:
            address = self._addresses[place] = super().render(context)
        return address


@register.tag("translate")
@register.tag("trans")
def translate(parser: Any, token: Any) -> i18n.TranslateNode:
    """Read a tag as Django does, and keep its text where it stands in the tag itself."""
    node: i18n.TranslateNode = i18n.do_translate(parser, token)
    literals = [parser.compile_filter(each) for each in token.split_contents()[1:2]]
    is_plain = not (node.noop or node.asvar or node.message_context)
    return ConstantText(node) if is_plain and all(map(_is_literal, literals)) else node


@register.tag("static")
def static_file(parser: Any, token: Any) -> static.StaticNode:
    """Read a tag as Django does, and keep its address where the file stands in the tag itself."""
    node: static.StaticNode = static.do_static(parser, token)
    return ConstantFile(node) if node.varname is None and _is_literal(node.path) else node


@register.tag("url")
def url(parser: Any, token: Any) -> defaulttags.URLNode:
    """Read a tag as Django does, and keep its address where it is the same for all rows."""
    node: defaulttags.URLNode = defaulttags.url(parser, token)
    is_plain = not (node.args or node.kwargs or node.asvar) and _is_literal(node.view_name)
    return ConstantAddress(node) if is_plain else node
