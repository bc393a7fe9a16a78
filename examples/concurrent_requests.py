"""Send several requests concurrently over one connection and print each answer when it is complete.

motet up &
python examples/concurrent_requests.py "Show me a penguin on a blue background." "Play a low note on a flute."
"""

from __future__ import annotations

import argparse
import asyncio

from motet import Client, MotetError, printable


async def ask(client: Client, prompt: str) -> str:
    """Return the answer in one line. An overloaded server gets the request again after the delay that it reports."""
    try:
        answer = await client.answer(prompt)
        return f"{prompt} -> {answer.text!r} and {len(answer.media)} media parts"
    except MotetError as error:
        return f"{prompt} -> {error.message} ({error.reason})"


async def ask_all(server: str | None, prompts: list[str]) -> None:
    """Print each answer when it is complete."""
    async with Client(server, retries=5) as client:
        for answer in asyncio.as_completed([ask(client, prompt) for prompt in prompts]):
            print(printable(await answer))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="+")
    parser.add_argument("--server", help="default: MOTET_SERVER, or else localhost:50050")
    arguments = parser.parse_args()
    asyncio.run(ask_all(arguments.server, arguments.prompts))


if __name__ == "__main__":
    main()
