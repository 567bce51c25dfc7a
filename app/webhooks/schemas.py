"""Webhooks as the API takes and shows them, and the messages that they get."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.errors import ProblemDocument
from app.http.paging import Identified
from app.http.parameters import PRINTABLE
from app.storage.tables import Webhook
from app.webhooks.outbox import PREFIX

EventType = Literal[
    "job.succeeded",
    "job.failed",
    "job.cancelled",
    "sweep.succeeded",
    "sweep.failed",
    "sweep.cancelled",
]
LONGEST_URL = 2_000  # characters

EXAMPLE: dict[str, Any] = {
    "url": "https://hooks.example/foldhouse",
    "events": ["job.succeeded", "job.failed"],
}


class WebhookCreate(BaseModel):
    """An address that gets a message when a job or a sweep ends."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    url: Annotated[str, StringConstraints(max_length=LONGEST_URL, pattern=PRINTABLE)] = Field(
        description="`https://` or `http://`. Private, loopback and link-local addresses are "
        "refused unless `FOLDHOUSE_WEBHOOK_ALLOW_PRIVATE` is set."
    )
    events: list[EventType] = Field(
        default_factory=lambda: [*get_args(EventType)],
        min_length=1,
        max_length=len(get_args(EventType)),
        description="What to send; by default all.",
    )


class WebhookOut(Identified):
    """A webhook. Its secret is not shown again."""

    url: str
    events: list[EventType]
    created_at: datetime
    delivered_at: datetime | None = Field(description="When the last message arrived.")
    error: str | None = Field(description="Why the last attempt failed; null once one succeeds.")

    @classmethod
    def of(cls, webhook: Webhook) -> WebhookOut:
        return cls.model_validate(webhook, from_attributes=True)


class WebhookCreated(WebhookOut):
    """A new webhook, with its secret."""

    secret: str = Field(description=f"Verifies signatures; `{PREFIX}` and base64. Shown only here.")


class WebhookList(BaseModel):
    """All webhooks of the tenant, oldest first."""

    data: list[WebhookOut]


class JobEnded(BaseModel):
    """The job, or sweep, that a message is about."""

    id: str
    name: str | None
    status: Literal["succeeded", "failed", "cancelled"]
    dataset_id: str
    target: str
    model_id: str | None
    metrics: dict[str, float | None] | None
    error: ProblemDocument | None


class WebhookMessage(BaseModel):
    """What a webhook gets, by the Standard Webhooks rules."""

    type: EventType
    timestamp: datetime
    data: JobEnded
