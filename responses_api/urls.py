"""Route paths under /v1 and /openai/v1 that Django serves; asgi.py has the generation routes.

Ids are taken with their slashes, so that text that cannot be an id gets the answer of an unknown one.
"""

from __future__ import annotations

from django.urls import path, re_path

from responses_api.views import completions, conversations, errors, models, responses, usage

urlpatterns = [
    path("models", models.ModelsView.as_view()),
    path("models/<path:name>", models.ModelView.as_view()),
    path("responses/<path:response_id>/input_items", responses.InputItemsView.as_view()),
    path("responses/<path:response_id>/cancel", responses.CancelView.as_view()),
    path("responses/<path:response_id>", responses.ResponseView.as_view()),
    path("conversations", conversations.ConversationsView.as_view()),
    path(
        "conversations/<str:conversation_id>/items/<path:item_id>", conversations.ItemView.as_view()
    ),
    path("conversations/<path:conversation_id>/items", conversations.ItemsView.as_view()),
    path("conversations/<path:conversation_id>", conversations.ConversationView.as_view()),
    path("chat/completions", completions.CompletionsView.as_view()),
    path("chat/completions/<path:completion_id>/messages", completions.MessagesView.as_view()),
    path("chat/completions/<path:completion_id>", completions.CompletionView.as_view()),
    path("usage", usage.UsageView.as_view()),
    re_path("", errors.unknown_route),
]
