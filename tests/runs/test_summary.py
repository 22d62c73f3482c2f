"""The skill table."""

from hews_gpu.runs.summary import skill_table


def scored(skill, low, high):
    plain = {"auc": 0.61234, "average_precision": 0.3, "brier": 0.12, "log_loss_bits": 0.6, "brier_skill": skill}
    return {**plain, "log_skill_bits": skill, "log_skill_bits_interval": [low, high]}


def test_rows_and_their_order():
    model = scored(0.0123, -0.001, 0.02)
    metrics = {
        "splits": {"test": {k: v for k, v in model.items() if k != "log_skill_bits_interval"}},
        "log_skill_bits_interval": model["log_skill_bits_interval"],
        "baselines": {"base_rate": scored(-0.03, -0.04, -0.02), "climatology": scored(0.0, 0, 0)},
    }
    rows = skill_table(metrics)
    assert [row[0] for row in rows] == ["forecast", "base rate", "climatology", "model"]
    assert {len(row) for row in rows} == {7}
    assert rows[3][1] == "0.6123" and rows[3][-1] == "+0.0123 [-0.0010, +0.0200]"
    assert rows[2][-1] == "0"
    metrics["baselines"]["oracle"] = scored(0.05, 0.04, 0.06)
    assert skill_table(metrics)[-1][0].startswith("oracle")
