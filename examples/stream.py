"""Print the events of a generation as they arrive: text, progress of the media parts, and failures.

motet up &
python examples/stream.py "Play a low note on a flute and show me a rocket moving up."
"""

from __future__ import annotations

import argparse
import asyncio

from motet import Client, printable
from motet.core.events import Done, PartDelta, PartDone, PartFailed, PartProgress, PartStarted


async def print_events(server: str | None, prompt: str) -> None:
    """Print the events of a generation. Leaving the `stream` block by an error or Ctrl-C cancels the generation."""
    async with Client(server) as client, client.stream(prompt, seed=7) as events:
        async for event in events:
            match event.payload:
                case PartDelta(_, _, str(text)):
                    print(printable(text), end="", flush=True)
                case PartStarted(part_id, _, modality) if modality != "text":
                    print(printable(f"\n[{part_id}: {modality} started]"))
                case PartProgress(part_id, step, total):
                    print(printable(f"[{part_id}: step {step} of {total}]"))
                case PartDone(part_id, sha256, artifact) if artifact is not None:
                    size, media_type = artifact.size_bytes, artifact.media_type
                    print(printable(f"[{part_id}: {size} bytes of {media_type}, {sha256.hex()[:12]}]"))
                case PartFailed(part_id, error):
                    print(printable(f"[{part_id} failed: {error.message} ({error.reason})]"))
                case Done(generation):
                    print(f"\n{generation.state.name.lower()} after {generation.usage.elapsed:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt")
    parser.add_argument("--server", help="default: MOTET_SERVER, or else localhost:50050")
    arguments = parser.parse_args()
    asyncio.run(print_events(arguments.server, arguments.prompt))


if __name__ == "__main__":
    main()
