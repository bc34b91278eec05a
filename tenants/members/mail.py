"""Send invitations by e-mail, where Tollgate has a mail server."""

from __future__ import annotations

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage

from tenants.models import Invitation

logger = logging.getLogger("tollgate.members")


def send_invitation(invitation: Invitation, link: str) -> str:
    """Send the link if there is an address and a server; return what became of it, for who invited."""
    if not invitation.email:
        return "No address was given: pass the link on yourself."
    if settings.SMTP_URL is None:
        return "Not sent, because TOLLGATE_SMTP_URL is not set: pass the link on yourself."
    try:
        _message(invitation, link).send()
    except (SMTPException, OSError) as error:
        name = type(error).__name__
        logger.warning("invitation %s could not be sent: %s", invitation.pk, name)
        return f"It could not be sent ({name}): pass the link on yourself."
    return f"Sent to {invitation.email}."


def _message(invitation: Invitation, link: str) -> EmailMessage:
    tenant = " ".join(str(invitation.tenant).split())  # a line break would end the subject
    text = (
        f"You are invited to {tenant} on Tollgate, as {invitation.role_name}.\n\n"
        f"{link}\n\n"
        f"The link works once, until {invitation.expires_at:%Y-%m-%d %H:%M} UTC. If you did not expect "
        "it, ignore it.\n"
    )
    return EmailMessage(f"Invitation to {tenant}", text, to=[invitation.email])
