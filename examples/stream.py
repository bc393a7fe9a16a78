"""Print the events of a generation as they arrive: text, progress of the media parts, and failures.

motet up &
python examples/stream.py "Play a low note on a flute and show me a rocket moving up."
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import aclosing

from motet.client import Client
from motet.core.events import Done, PartDelta, PartDone, PartFailed, PartProgress, PartStarted
from motet.core.request import GenerationRequest, Message


async def print_events(server: str, prompt: str) -> None:
    """Print the events of a generation. Leaving the `aclosing` block by an error or Ctrl-C cancels the generation."""
    request = GenerationRequest((Message("user", (prompt,)),), seed=7)
    async with Client(server) as client, aclosing(client.generate(request)) as events:
        async for event in events:
            match event.payload:
                case PartDelta(_, _, str(text)):
                    print(text, end="", flush=True)
                case PartStarted(part_id, _, modality) if modality != "text":
                    print(f"\n[{part_id}: {modality} started]")
                case PartProgress(part_id, step, total):
                    print(f"[{part_id}: step {step} of {total}]")
                case PartDone(part_id, sha256, artifact) if artifact is not None:
                    print(f"[{part_id}: {artifact.size_bytes} bytes of {artifact.media_type}, {sha256.hex()[:12]}]")
                case PartFailed(part_id, error):
                    print(f"[{part_id} failed: {error.message} ({error.reason})]")
                case Done(generation):
                    print(f"\n{generation.state.name.lower()} after {generation.usage.elapsed:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt")
    parser.add_argument("--server", default="localhost:50050")
    arguments = parser.parse_args()
    asyncio.run(print_events(arguments.server, arguments.prompt))


if __name__ == "__main__":
    main()
