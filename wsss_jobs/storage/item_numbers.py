"""A number of each item, from a Parquet file with a column `item_id`."""

import pyarrow as pa
import pyarrow.parquet as pq

from wsss_jobs.errors import ConfigError
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.uris import open_store


def item_numbers(uri: str, column: str) -> dict[str, float | None]:
    """The numbers of a column by item id.

    Args:
        uri: Path or `s3://` address of the file, such as `<run>/evaluation/<recipe>-quality.parquet`.
        column: Its name.

    Raises:
        ConfigError: There is no such file, or it is no Parquet file with these columns.
    """
    folder, _, name = uri.rpartition("/")
    try:
        table = pq.read_table(pa.BufferReader(open_store(folder or ".").get(name)))
    except ObjectNotFoundError as error:
        raise ConfigError(f"{uri}: there is no such file; `wsss quality` writes it") from error
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{uri}: is no Parquet file ({error})") from error
    missing = {"item_id", column} - set(table.column_names)
    if missing:
        raise ConfigError(f"{uri}: has no column {min(missing)!r}; it has {', '.join(table.column_names)}")
    return dict(zip(table.column("item_id").to_pylist(), table.column(column).to_pylist(), strict=True))
