"""The study of live issuing: what it counts on sees each edit of a record, and what an unedited one says."""

from hews_gpu.alerts.record import open_record
from studies.live import tampered


def test_every_edit_of_a_record_is_refused(tmp_path):
    with open_record(tmp_path / "run") as record:
        for n in range(9):
            record.append("outcome", {"issue_time": n})
    assert tampered(tmp_path / "run", tmp_path / "copies") == dict.fromkeys(
        ("edited", "deleted", "reordered", "cut"), True
    )
