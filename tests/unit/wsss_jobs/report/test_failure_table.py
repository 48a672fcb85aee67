from wsss_jobs.failed_items import FailedItem
from wsss_jobs.report.failure_table import MAX_ROWS, failure_table


def test_failures_are_counted_by_image_and_by_reason():
    failed = [
        FailedItem("a", "infer_cams", "nan_cam", "m"),
        FailedItem("b", "infer_cams", "exception", "m"),
        FailedItem("c", "infer_cams", "nan_cam", "m"),
        FailedItem("a", "gcn_masks", "exception", "m"),
    ]
    table = failure_table(failed)
    assert table.num_failed == 3
    assert table.groups[0] == ("infer_cams", "nan_cam", 2)
    assert sorted(table.groups[1:]) == [("gcn_masks", "exception", 1), ("infer_cams", "exception", 1)]
    assert table.rows == tuple(failed)
    assert table.num_more == 0


def test_a_long_list_is_cut_and_says_so():
    failed = [FailedItem(str(number), "s", "r", "m") for number in range(MAX_ROWS + 7)]
    table = failure_table(failed)
    assert len(table.rows) == MAX_ROWS
    assert table.num_more == 7
    assert table.num_failed == MAX_ROWS + 7
