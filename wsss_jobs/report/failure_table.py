"""What failed: all of it counted, the first of it listed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wsss_jobs.failed_items import FailedItem

MAX_ROWS = 200


@dataclass(frozen=True)
class FailureTable:
    """The failures of a run.

    Attributes:
        num_failed: Images.
        groups: (stage, reason, number), the most frequent first.
        rows: Up to `MAX_ROWS`, in the order of the plan.
        num_more: Rows left out.
    """

    num_failed: int
    groups: tuple[tuple[str, str, int], ...]
    rows: tuple[FailedItem, ...]
    num_more: int


def failure_table(failed: Sequence[FailedItem]) -> FailureTable:
    """Returns the table of a run's failures."""
    counts = Counter((item.stage, item.reason) for item in failed)
    groups = tuple((stage, reason, number) for (stage, reason), number in counts.most_common())
    num_images = len({item.source_key for item in failed})
    return FailureTable(num_images, groups, tuple(failed[:MAX_ROWS]), max(len(failed) - MAX_ROWS, 0))
