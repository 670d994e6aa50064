"""The texts that are measured."""

from pathlib import Path

from bertwire_data.tables import open_table


def read_texts(path: Path) -> list[str]:
    """Return the column `text` of a table."""
    reader = open_table(path)
    try:
        return [row["text"] for batch in reader.batches(1024) for row in batch.rows]
    finally:
        reader.close()
