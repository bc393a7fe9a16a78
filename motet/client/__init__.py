"""The client of a Motet server. It depends only on grpcio and protobuf.

    import asyncio
    from motet.client import Client

    async def main():
        async with Client("localhost:50050") as client:
            answer = await client.answer("Show me a penguin on a blue background.")
            print(answer.text)
            print(answer.save("penguin"))

    asyncio.run(main())

Without asyncio:

    from motet.client import SyncClient

    with SyncClient("localhost:50050") as client:
        print(client.answer("Show me a penguin on a blue background.").text)
"""

import os

# With gRPC's support of fork, a forked child of a process with an asyncio client aborts at a random time, even if it
# never calls gRPC. gRPC reads this variable when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

from motet.client.client import Client
from motet.client.sync import SyncClient

__all__ = ["Client", "SyncClient"]
