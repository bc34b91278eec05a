"""Answer a live topic of the console to pages that have no socket."""

from __future__ import annotations

from asgiref.sync import async_to_sync
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from tenants.access.requests import access
from tenants.console.live import topic_of


@require_GET
@never_cache
def answer_topic(request: HttpRequest, name: str) -> JsonResponse:
    """Answer once; the page asks again. Only whoever is signed in is told anything."""
    topic = topic_of(name)
    if not request.user.is_authenticated or not access(request):
        raise PermissionDenied
    if topic is None:
        raise Http404
    if topic.ask_later is not None:
        return JsonResponse(async_to_sync(topic.ask_later)(request))
    assert topic.ask is not None
    return JsonResponse(topic.ask(request))
