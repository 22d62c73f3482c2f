"""What `hews warn` would have written, made by hand: outcomes and labels of twelve-hour windows."""

from __future__ import annotations

from dataclasses import asdict
from unittest.mock import patch

from hews_gpu.alerts.policy import Policy
from hews_gpu.alerts.record import open_record
from hews_gpu.alerts.settle import text

BEGIN_S = 1_714_521_600  # 2024-05-01T00:00
STEP_S = 43_200
POLICY = Policy(stride_s=STEP_S, quiet_s=STEP_S)
THRESHOLDS = {"city_watch": 0.5, "city_warning": 0.9, "neighborhoods_watch": 0.3, "neighborhoods_warning": None}


def outcome(k, p=0.4, *, said="issued", warnings=(), reason="", late=False, policy=POLICY, areas=True, begin_s=BEGIN_S):
    """The k-th issue time; the calendar says 0.3 by day and 0.6 by night, its level 0.1 less."""
    issue_s = begin_s + k * policy.stride_s
    calendar = 0.3 if k % 2 else 0.6
    is_made = said in ("issued", "abstained")
    return "outcome", {
        "issue_time": text(issue_s),
        "window_start": text(issue_s),
        "window_end": text(issue_s + STEP_S),
        "outcome": said,
        "reason": reason,
        "late": late,
        "policy": policy.as_dict(),
        "probability": p if is_made else None,
        "baselines": {"climatology": calendar, "level": calendar - 0.1} if is_made else None,
        "neighborhoods": [0.1, round(p / 2, 6)] if is_made and areas else None,
        "thresholds": THRESHOLDS if is_made else None,
        "warnings": [asdict(one) for one in warnings],
    }


def label(k, *events, begin_s=BEGIN_S):
    """What came in the k-th window: each event as seconds after its begin, and neighborhood."""
    issue_s = begin_s + k * STEP_S
    told = [[text(issue_s + after_s), place] for after_s, place in events]
    known = text(issue_s + 30 * 86_400)
    return "label", {"issue_time": text(issue_s), "y": bool(events), "events": told, "known_until": known}


def entries(*bodies):
    """The lines as they are read again, without the seals."""
    return [
        {**body, "kind": kind, "n": n, "instant": "2024-06-01T00:00:00Z", "hash": ""}
        for n, (kind, body) in enumerate(bodies)
    ]


def seal(run, *bodies):
    """Append the lines to a run's record; a test's need not outlive a power failure."""
    with patch("os.fsync"), open_record(run) as record:
        for kind, body in bodies:
            record.append(kind, body)
