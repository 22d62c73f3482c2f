"""`hews verify`: score everything that a record says was issued, by month and in all, into `verification.json`.

The file is one object. Times are local, ``2017-06-01T20:00:00``; probabilities and rates are plain numbers; what does
not exist (no warning given, no event, too short for an interval) is null::

    kind           "verification"
    run, model     name of the run's folder; name of its forecaster
    made           UTC instant
    record         entries, head (hash of the last), first, last (instants)
    task           stride_s, lead_s, horizon_s, minimum_lead_s
    policies       [{from (issue time), fingerprint}], each time another policy came into force
    neighborhoods  [name] or null: of a model that does not say where
    periods        [Period], one per month of issue times, in order
    all            Period, over the whole record
    warnings       [Row], in the order of issue_time or, of a miss, event_time
    delay          null without a vintage store, else settled_share, settled_s (a label is given so long after its
                   window's end), curve [[share, seconds]]
    rebaselines    [{instant, why, moved: number of values}]

    Period
    period         "2017-06", or "all"
    begin, end     first due issue time and the one after the last
    published      whether the month is over and all its windows are settled: its numbers may not move any more
    outcomes       due = issued + abstained + refused + stopped + late + missing; missing: no entry for an issue time
    reasons        {reason: count} of abstained, refused and stopped
    open           due issue times whose label is not yet known: they are in none of the scores below
    events         city, neighborhoods: target events that could have been warned of
    as_made        Scored or null: the windows with a forecast made in time, even where the system abstained
    as_served      Scored or null: every due window; where nothing was issued in time (abstained, refused, stopped,
                   late, missing) the climatology's forecast stands in `p`'s place
    areas          null without neighborhoods, else Scored of each window and neighborhood as a case, `p` and
                   `climatology` (its forecast spread over neighborhoods by their long-run shares) alone
    warnings       {"city": By, "neighborhoods": By or null}
    drift          null if nothing is scored, else mean_forecast, observed, difference: {value, interval, p} of observed
                   less forecast (`interval` leaves out 0: drifted, wrong for 1 stable month in 20), events,
                   expected_events (by the climatology)

    Scored
    windows, positives, base_rate, effective_windows (how many windows of that length do not overlap)
    forecasts      {"p": F, "climatology": F, "level": F}
    F              log_loss_bits, brier, reliability [{p_mean, y_rate, low, high, count}],
                   roc {auc, curve [[false alarm rate, hit rate]]},
                   molchan {area, curve [[share of windows alarmed, miss rate]]},
                   against {other: {log_skill_bits, brier_skill}}, each {value, interval or null}

    By             {"p": Tiers, "climatology": Tiers, "level": Tiers}: what was given, and what the two references would
                   have given under the same budgets and policy; a reference that was not recorded is left out
    Tiers          {"watch": Counts, "warning": Counts, "any": Counts, "matrix": Matrix or null}
    Counts         given, per_week, hits, false_alarms, open, events, caught, pod, pod_interval, far, far_interval,
                   median_lead_s; withheld, undelivered, cancelled (none of the first two is among given)
    Matrix         score (mean risk-matrix score, lower is better), never (of who never warns), tiers {tier:
                   {probability, firm, over, under}}: FIRM with that probability as risk threshold, and its two parts

    Row
    id, place (null: city), tier, issue_time, window_start, window_end, probability, threshold, replaces
    outcome        hit | false_alarm | miss | open; a miss has no id, tier, issue_time, window, probability, threshold
    withheld, undelivered, cancelled
    event_time, lead_s (from issue to the first event that makes it a hit), events (in the window)
    system         of a miss: the outcome at the last issue time that could have warned (issued, refused, missing ...)

Numbers of published months are compared with those of the file that is replaced: see `verify`.
"""

from __future__ import annotations

__all__ = ["VERIFICATION"]

VERIFICATION = "verification.json"
