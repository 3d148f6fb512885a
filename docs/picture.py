"""The terminal's picture in README.md, from a real run: python docs/picture.py docs/terminal.svg COMMAND...

Each command is run by bash in the repository's root, and shown with all that it prints.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    picture, *commands = sys.argv[1:]
    console = Console(record=True, width=112, file=io.StringIO())
    for command in commands:
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        done = subprocess.run(
            ["bash", "-c", command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        console.print(Text.from_ansi(done.stdout), highlight=False)
        if done.returncode:
            print(done.stdout, end="", file=sys.stderr)
            return done.returncode
    # Without the font that rich would have the reader's browser fetch.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="comentarios"), flags=re.DOTALL)
    Path(picture).write_text(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
