"""Ask many things at once: one client, one connection, and answers as they are done.

motet up &
python examples/together.py "Show me a penguin on a blue background." "Play a low note on a flute."
"""

from __future__ import annotations

import argparse
import asyncio

from motet.client import Client
from motet.core.errors import MotetError, OverloadedError


async def ask(client: Client, prompt: str) -> str:
    """One answer in one line; a server that is too busy is asked again when it says."""
    while True:
        try:
            answer = await client.answer(prompt)
            return f"{prompt} -> {answer.text!r} and {len(answer.media)} pieces of media"
        except OverloadedError as error:
            await asyncio.sleep(error.retry_after)
        except MotetError as error:
            return f"{prompt} -> {error.message} ({error.reason})"


async def ask_all(server: str, prompts: list[str]) -> None:
    """Print each answer as soon as it is there."""
    async with Client(server) as client:
        for answer in asyncio.as_completed([ask(client, prompt) for prompt in prompts]):
            print(await answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="+")
    parser.add_argument("--server", default="localhost:50050")
    arguments = parser.parse_args()
    asyncio.run(ask_all(arguments.server, arguments.prompts))


if __name__ == "__main__":
    main()
