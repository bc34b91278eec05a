"""Load templates whose variables are looked up and written in two steps where Django takes twenty.

A page has some hundred variables, most of them names that its view has given, or not. What is neither a name
given as it is, nor a plain attribute or entry of one, Django looks up as ever. Uses what is internal to
Django's templates; tests/console/test_template_loader.py compares the outcome with Django's own.
"""

from __future__ import annotations

from functools import partial
from html import escape
from typing import Any

from django.template import Context, Template, TemplateDoesNotExist
from django.template.base import (
    DebugLexer,
    FilterExpression,
    Lexer,
    NodeList,
    Parser,
    TextNode,
    VariableNode,
    render_value_in_context,
)
from django.template.defaulttags import IfNode, TemplateLiteral
from django.template.loaders import base, cached
from django.utils.safestring import SafeString

# What Django must look for itself.
_UNKNOWN = object()


class _QuickExpression(FilterExpression):
    """A variable, or a literal, and its filters."""

    __slots__ = ()

    def resolve(self, context: Any, ignore_failures: bool = False) -> Any:
        if self.filters:
            return super().resolve(context, ignore_failures)
        if not self.is_var:
            return self.var
        lookups = self.var.lookups
        if lookups is None or self.var.translate:
            return super().resolve(context, ignore_failures)
        first = lookups[0]
        for scope in reversed(context.dicts):
            if first in scope:
                value = scope[first]
                break
        else:
            invalid = context.template.engine.string_if_invalid
            if invalid or hasattr(context, first) or first.isdigit():
                return super().resolve(context, ignore_failures)
            return None if ignore_failures else invalid
        if len(lookups) > 1 and not callable(value):
            value = _walk(value, lookups)
        if value is _UNKNOWN or callable(value):
            return super().resolve(context, ignore_failures)
        return value


def _walk(value: Any, lookups: tuple[str, ...]) -> Any:
    """Follow the names after the first one through plain attributes, and entries of plain dicts."""
    for name in lookups[1:]:
        if type(value) is dict:
            if name not in value:
                return _UNKNOWN
            value = value[name]
        elif hasattr(type(value), "__getitem__"):
            return _UNKNOWN
        else:
            try:
                value = getattr(value, name)
            except (AttributeError, TypeError):
                return _UNKNOWN
        if callable(value):
            return _UNKNOWN
    return value


class _QuickVariable(VariableNode):
    """A variable that stands in the text."""

    def render_annotated(self, context: Context) -> Any:
        if not context.autoescape or context.template.engine.debug:  # type: ignore[union-attr]
            return super().render_annotated(context)
        value = self.filter_expression.resolve(context)
        kind = type(value)
        if kind is SafeString:
            return value
        return escape(value) if kind is str else render_value_in_context(value, context)


class _QuickNodes(NodeList):
    """Nodes of which most are text, and which stay what they are: a page asks each it extends for its
    blocks.
    """

    def render(self, context: Context) -> SafeString:
        return SafeString(
            "".join(
                [
                    each.s if type(each) is TextNode else each.render_annotated(context)  # type: ignore[misc]
                    for each in self
                ]
            )
        )

    def get_nodes_by_type(self, nodetype: type[Any]) -> list[Any]:
        found: dict[type[Any], list[Any]] = self.__dict__.setdefault("found", {})
        if nodetype not in found:
            found[nodetype] = super().get_nodes_by_type(nodetype)
        return found[nodetype]


def _shorten(condition: Any) -> None:
    """Let the variables of a condition be looked up without a step between."""
    if type(condition) is TemplateLiteral:
        condition.eval = partial(condition.value.resolve, ignore_failures=True)  # type: ignore[method-assign, union-attr]
    elif condition is not None:
        _shorten(condition.first)
        _shorten(condition.second)


class _QuickParser(Parser):
    def compile_filter(self, token: str) -> FilterExpression:
        return _QuickExpression(token, self)

    def parse(self, parse_until: Any = None) -> NodeList:
        nodes = super().parse(parse_until)
        nodes.__class__ = _QuickNodes
        return nodes

    def extend_nodelist(self, nodelist: NodeList, node: Any, token: Any) -> None:
        if type(node) is VariableNode:
            node = _QuickVariable(node.filter_expression)
        elif type(node) is IfNode:
            for condition, _nodes in node.conditions_nodelists:
                _shorten(condition)
        super().extend_nodelist(nodelist, node, token)


class QuickTemplate(Template):
    """A template as Django reads it, with our expressions and variables."""

    def compile_nodelist(self) -> NodeList:
        engine = self.engine
        tokens = (DebugLexer if engine.debug else Lexer)(self.source).tokenize()
        libraries, builtins = engine.template_libraries, engine.template_builtins
        parser = _QuickParser(tokens, libraries, builtins, self.origin)
        try:
            nodes = parser.parse()
        except Exception as error:
            if engine.debug:
                error.template_debug = self.get_exception_info(error, error.token)  # type: ignore[attr-defined]
            raise
        self.extra_data = parser.extra_data
        return nodes

    def render(self, context: Any) -> Any:
        if context.template is None:
            return super().render(context)
        # It is included, or extended: as Django does, but without a generator for the state.
        state = context.render_context
        before, state.template = state.template, self
        state.dicts.append({})
        try:
            return self._render(context)  # type: ignore[attr-defined]
        finally:
            state.dicts.pop()
            state.template = before


class _TemplateReader(base.Loader):
    """Django's way to find a template, which it makes of another class."""

    def get_template(self, template_name: str, skip: Any = None) -> Template:
        tried = []
        for origin in self.get_template_sources(template_name):
            if skip is not None and origin in skip:
                tried.append((origin, "Skipped to avoid recursion"))
                continue
            try:
                contents: Any = self.get_contents(origin)  # type: ignore[attr-defined]  # the other base has it
            except TemplateDoesNotExist:
                tried.append((origin, "Source does not exist"))
                continue
            return QuickTemplate(contents, origin, str(origin.template_name), self.engine)
        raise TemplateDoesNotExist(template_name, tried=tried)


class QuickLoader(cached.Loader, _TemplateReader):
    """Keeps templates in memory once they are read, as Django's own loader does."""
