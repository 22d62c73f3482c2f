"""What of an audit is kept in the result file, under names that the pages look figures up by."""

from studies.fairness import KEPT, _kept
from tests.docs_ext import results


def test_groups_and_columns_are_found_by_name():
    group = {
        "group": "highest quarter",
        **dict.fromkeys(KEPT),
        "hours_per_event": {"value": 3.0, "ratio": {"value": 1.5, "interval": [1, 2]}},
    }
    row = {"mix": 0.0, "caught": {"value": 0.2, "interval": [0.1, 0.3]}}
    by = {"by": "A/B", "groups": {"model": [group]}, "equal_hours": [row]}
    kept = _kept({"kind": "fairness", "verdict": "pass", "by": [by], "by_neighborhood": [{"name": "Secret"}]})
    ratio = results.lookup(kept, "by.A/B.groups.model.highest quarter.hours_per_event.ratio.value")
    assert ratio[0] == 1.5 and results.lookup(kept, "by.A/B.equal_hours.0.caught.value")[0] == 0.2
    assert "Secret" not in str(kept) and kept["verdict"] == "pass"
