"""Send one request to a running Motet and save the answer, without asyncio.

motet up &
python examples/ask.py "Show me a penguin on a blue background."
python examples/ask.py "What is this?" picture.png --server localhost:50050
"""

from __future__ import annotations

import argparse
from pathlib import Path

from motet.client import SyncClient
from motet.core.media import Media


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt")
    parser.add_argument("files", nargs="*", type=Path, help="pictures, sounds or clips to attach to the prompt")
    parser.add_argument("--server", default="localhost:50050")
    parser.add_argument("--out", type=Path, default=Path("answer"))
    arguments = parser.parse_args()

    # With an empty media type the server detects the type from the bytes.
    media = [Media("", path.read_bytes()) for path in arguments.files]
    with SyncClient(arguments.server) as client:
        answer = client.answer(arguments.prompt, media)

    print(answer.text)
    for path in answer.save(arguments.out):
        print(path)


if __name__ == "__main__":
    main()
