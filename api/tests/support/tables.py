"""The tables that `make prove` and `make bench` print at the end."""

from collections.abc import Iterable

from common.paths import TABLES


def add(*lines: str) -> None:
    """Append a table or a sentence, after an empty line."""
    TABLES.parent.mkdir(exist_ok=True)
    with TABLES.open("a") as file:
        file.write("\n" + "\n".join(lines) + "\n")


def add_row(columns: Iterable[str], values: Iterable[object]) -> None:
    """Append a row to the table with these columns, which begins with its first row."""
    names = list(columns)
    head = f"| {' | '.join(names)} |\n{'|---' * len(names)}|\n"
    begun = TABLES.exists() and head in TABLES.read_text()
    if not begun:
        add(head.rstrip("\n"))
    with TABLES.open("a") as file:
        file.write(f"| {' | '.join(map(str, values))} |\n")
