"""The client of a Motet server. It depends only on grpcio and protobuf. `motet` has the same names.

    import asyncio
    from motet import Client

    async def main():
        async with Client("localhost:50050") as client:
            answer = await client.answer("Show me a penguin on a blue background.")
            print(answer.text)
            print(answer.save("penguin"))

    asyncio.run(main())

Without asyncio:

    from motet import SyncClient

    with SyncClient("localhost:50050") as client:
        print(client.answer("Show me a penguin on a blue background.").text)
"""

import os

# With gRPC's support of fork, a forked child of a process with an asyncio client aborts at a random time, even if it
# never calls gRPC. gRPC reads this variable when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from motet.answers.answer import Answer as Answer
from motet.answers.answer import MediaPart as MediaPart
from motet.answers.answer import Part as Part
from motet.answers.answer import TextPart as TextPart
from motet.answers.answer_stream import AnswerStream as AnswerStream
from motet.answers.options import AnswerOptions as AnswerOptions
from motet.answers.printable import printable as printable
from motet.client.client import Client as Client
from motet.client.conversation import Conversation as Conversation
from motet.client.sync import SyncClient as SyncClient
from motet.client.sync_stream import SyncAnswerStream as SyncAnswerStream
from motet.client.sync_stream import SyncConversation as SyncConversation
from motet.core import events as events
from motet.core.errors import AccessError as AccessError
from motet.core.errors import CancelledError as CancelledError
from motet.core.errors import DeadlineError as DeadlineError
from motet.core.errors import FaultError as FaultError
from motet.core.errors import MediaError as MediaError
from motet.core.errors import MotetError as MotetError
from motet.core.errors import NotFoundError as NotFoundError
from motet.core.errors import OverloadedError as OverloadedError
from motet.core.errors import Reason as Reason
from motet.core.errors import RequestError as RequestError
from motet.core.errors import RetryableError as RetryableError
from motet.core.errors import SettingsError as SettingsError
from motet.core.media import Media as Media
from motet.core.request import ArtifactName as ArtifactName
from motet.core.request import DecoderOptions as DecoderOptions
from motet.core.request import FailurePolicy as FailurePolicy
from motet.core.request import GenerationRequest as GenerationRequest
from motet.core.request import Message as Message
