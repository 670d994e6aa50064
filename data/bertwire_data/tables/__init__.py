"""Read and write tables of text in batches, so that a file of any size takes the memory of a few batches.

CSV, TSV, JSONL, Parquet and Excel, told apart by their ending. CSV, TSV and Excel give every value as a string; the
other formats keep their types. A row that cannot be read is a row all the same, with the reason beside it.
"""

from bertwire_data.tables.compressed import compress, is_compressed, opened, plain_name
from bertwire_data.tables.formats import create_table, open_table, require_new, require_workbook, table_format
from bertwire_data.tables.rows import Batch, TableReader, TableWriter

__all__ = [
    "Batch",
    "TableReader",
    "TableWriter",
    "compress",
    "create_table",
    "is_compressed",
    "open_table",
    "opened",
    "plain_name",
    "require_new",
    "require_workbook",
    "table_format",
]
