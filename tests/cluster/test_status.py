"""What is said of a job, from what SLURM knows and from the words it left; each source alone, too."""

import pytest

from hews_gpu.cluster.jobs import Event, Job, Submission, events_of, last_submission, write_submission
from hews_gpu.cluster.slurm import JobState
from hews_gpu.cluster.status import _row, is_over, rows_of, verdict
from hews_gpu.errors import UserError

JOB = Job(name="train", id="7", script="train.sbatch", log="hews-train-%j.log")


def known(state, reason="", nodes="n1"):
    return JobState(state=state, reason=reason, nodes=nodes, elapsed="0:05")


def word(kind, detail, restart=0):
    return Event(time="2026-01-01T00:00:00Z", job="7", restart=restart, word=kind, detail=detail)


def row(found, *events, log="", before=None, tmp_path=None):
    job = JOB
    if log:
        path = tmp_path / "hews-train-7.log"
        path.write_text(log)
        job = Job(name="train", id="7", script="", log=str(path.with_name("hews-train-%j.log")))
    return _row(job, None, found, events, before)


@pytest.mark.parametrize(
    ("found", "events", "state"),
    [
        (known("PENDING", "Resources"), (), "waiting"),
        (known("RUNNING"), (word("begin", "n1"),), "running"),
        (known("COMPLETING"), (), "running"),
        (known("COMPLETED"), (), "done"),
        (known("FAILED"), (), "failed"),
        (known("TIMEOUT"), (), "failed"),
        (known("CANCELLED"), (), "cancelled"),
        (None, (word("begin", "n1"), word("end", "0")), "done"),
        (None, (word("begin", "n1"), word("end", "2")), "failed"),
        (None, (word("begin", "n1"),), "lost"),
        (None, (word("begin", "n1"), word("requeue", "stopped"), word("begin", "n2", 1), word("end", "0")), "done"),
        (None, (), "cancelled"),
        (known("PENDING", "BeginTime"), (word("begin", "n1"), word("requeue", "stopped")), "waiting"),
    ],
)
def test_the_state(found, events, state):
    assert row(found, *events).state == state


def test_why_a_job_failed_is_the_last_thing_hews_said(tmp_path):
    log = "reading\nhews: [splits] test: reaches beyond the table.\nsrun: error: n1: task 0: Exited with exit code 2\n"
    found = row(known("FAILED"), word("begin", "n1"), word("end", "2"), log=log, tmp_path=tmp_path)
    assert found.why == "[splits] test: reaches beyond the table."
    assert (found.node, found.log.endswith("hews-train-7.log")) == ("n1", True)
    assert verdict([found]).startswith("train failed on n1: [splits] test: reaches beyond the table.\nLog: ")


def test_a_kill_by_slurm_is_named_before_the_log(tmp_path):
    found = row(known("OUT_OF_MEMORY"), word("begin", "n1"), log="epoch 1 of 8\n", tmp_path=tmp_path)
    assert found.why == "OUT_OF_MEMORY: epoch 1 of 8"


def test_a_failure_without_a_log_has_its_code():
    assert row(known("FAILED"), word("begin", "n1"), word("end", "137")).why == "code 137"


def test_what_came_after_a_failure_is_blamed_on_it():
    failed = row(known("FAILED"))
    assert row(known("CANCELLED"), before=failed).why == "train failed"
    assert row(known("PENDING", "Dependency"), before=row(known("RUNNING"))).why == "waits for train"


def test_requeues_are_counted():
    assert row(known("RUNNING"), word("begin", "n1"), word("requeue", "x"), word("begin", "n2", 1)).requeued == 1


def test_verdicts():
    done, running = row(known("COMPLETED")), row(known("RUNNING"))
    assert verdict([done, done]) == "All done."
    assert verdict([done, running]) == "1 of 2 done; nothing has failed."
    assert is_over([done]) and not is_over([done, running])


def test_what_was_submitted_is_found_again_and_older_notes_are_kept(tmp_path):
    first = Submission(kind="pipeline", when="2026-01-01T00:00:00+00:00", jobs=(JOB,), extra={})
    second = Submission(kind="sweep", when="2026-01-02T00:00:00+00:00", jobs=(JOB, JOB), extra={"sweep": "s.toml"})
    (tmp_path / "slurm").mkdir()
    write_submission(tmp_path, first)
    assert last_submission(tmp_path) == (tmp_path, first)
    write_submission(tmp_path, second)
    (tmp_path / "run").mkdir()
    assert last_submission(tmp_path / "run") == (tmp_path, second)  # the run within is as good a name
    assert '"2026-01-01' in (tmp_path / "slurm" / "jobs.json").read_text()
    with pytest.raises(UserError, match="holds nothing that was submitted"):
        last_submission(tmp_path / "run" / "deeper")


@pytest.mark.parametrize(("tasks", "name"), [(0, "train.tsv"), (1, "train-0.tsv")])
@pytest.mark.parametrize(
    ("when", "state"),
    [("2026-01-01T23:59:59Z", "cancelled"), ("2026-01-02T00:00:00Z", "done"), ("2026-01-03T", "done")],
)
def test_what_a_job_of_an_earlier_submission_left_says_nothing_of_this_one(
    tmp_path, monkeypatch, tasks, name, when, state
):
    """Even where SLURM has begun to count anew and gives the same number; within the same second it counts."""
    monkeypatch.setattr("hews_gpu.cluster.slurm.cluster_states", lambda ids: {})
    folder = tmp_path / "slurm" / "events"
    folder.mkdir(parents=True)
    (folder / name).write_text(f"{when}\t7\t0\tbegin\tn1\n{when}\t7\t0\tend\t0\n")
    job = Job(name="train", id="7", script="", log="hews-train-%j.log", tasks=tasks)
    submission = Submission(kind="pipeline", when="2026-01-02T00:00:00+00:00", jobs=(job,), extra={})
    (found,) = rows_of(tmp_path, submission)
    assert found.state == state and found.node == ("n1" if state == "done" else "")


def test_lines_that_were_cut_off_are_left_out(tmp_path):
    folder = tmp_path / "slurm" / "events"
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text("2026-01-01T00:00:00Z\t7\t0\tbegin\tn1\n2026-01-01T00:00:01Z\t7\t0\ten")
    assert [event.word for event in events_of(tmp_path, "train")] == ["begin"]
