"""The study of feedback: its arms, its table and its picture."""

import xml.etree.ElementTree as ET

from hews_gpu.audit.feedback import feedback_table, judged
from hews_gpu.report.figures.feedback import drifts
from hews_gpu.report.style import light_svg
from studies import feedback as study
from tests.audit.test_feedback import told


def test_the_table_and_the_picture_tell_every_arm(tmp_path):
    names = study.MAIN.arms
    assert "blind" not in names and "blind" in study.CONTEXT.arms and "random" in study.CONTEXT.arms
    arms = judged({name: told(0.9 if name == "discovered" else 0.5) for name in names})
    rows = feedback_table({"arms": arms})
    assert [row[-1] for row in rows[1:]] == ["holds", "", "", "runs away", "holds", "holds", "", ""]
    assert all(len(row) == len(rows[0]) for row in rows) and rows[4][2].startswith("0.378 (0.378")
    (tmp_path / "feedback.svg").write_text(light_svg(drifts(arms)), encoding="utf-8")
    text = "".join(ET.parse(tmp_path / "feedback.svg").getroot().itertext())
    for one in arms.values():
        assert (one["title"].partition(", ")[2] or "patrols where warnings are") in text
    assert "weapons: 0.00 to 0.40" in text
