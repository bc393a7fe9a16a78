"""Send one request to a running Motet and save the answer, without asyncio.

motet up &
python examples/ask.py "Show me a penguin on a blue background."
python examples/ask.py "What is this?" examples/turtle.png --server localhost:50050
"""

from __future__ import annotations

import argparse
from pathlib import Path

from motet import Media, SyncClient, printable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt")
    parser.add_argument("files", nargs="*", type=Path, help="pictures, sounds or clips to attach to the prompt")
    parser.add_argument("--server", help="default: MOTET_SERVER, or else localhost:50050")
    parser.add_argument("--out", type=Path, default=Path("answer"))
    arguments = parser.parse_args()

    with SyncClient(arguments.server) as client:
        answer = client.answer(arguments.prompt, [Media.from_path(path) for path in arguments.files])

    print(printable(answer.text))
    for path in answer.save(arguments.out):
        print(path)


if __name__ == "__main__":
    main()
