"""Motet serves and trains NExT-GPT: any mix of text, pictures, sounds and clips in, any mix out.

This package has the names of `motet.client`, such as `from motet import Client`. They are loaded when first used, so
that the services do not load the client.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motet.client import *

__all__ = [
    "AccessError",
    "Answer",
    "AnswerOptions",
    "AnswerStream",
    "ArtifactName",
    "CancelledError",
    "Client",
    "Conversation",
    "DeadlineError",
    "DecoderOptions",
    "FailurePolicy",
    "FaultError",
    "GenerationRequest",
    "Media",
    "MediaError",
    "MediaPart",
    "Message",
    "MotetError",
    "NotFoundError",
    "OverloadedError",
    "Part",
    "Reason",
    "RequestError",
    "RetryableError",
    "SettingsError",
    "SyncAnswerStream",
    "SyncClient",
    "SyncConversation",
    "TextPart",
    "events",
    "printable",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'motet' has no attribute {name!r}")
    import motet.client as client

    return getattr(client, name)


def __dir__() -> list[str]:
    return __all__
