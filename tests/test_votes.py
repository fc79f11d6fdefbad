"""Votes: none is lost by a kill, the results have intervals, and a file that can't be written says so."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from scipy.stats import binomtest

from latentlab import UserError
from latentlab.analysis import votes
from latentlab.analysis.votes import Vote

A, B = "GLIDE (2021)", "unCLIP, diffusion prior (2022)"


def test_what_is_appended_is_read_in_order(tmp_path):
    path = tmp_path / "new" / "votes.jsonl"
    cast = [Vote("prompt", A, B, "a fox"), Vote("diversity", B, A, "a “fox”\n", "w")]
    for vote in cast:
        votes.append(path, vote)
    assert votes.read(path) == (cast, 0) and votes.read(tmp_path / "none") == ([], 0)


def test_a_line_that_a_kill_cut_off_costs_that_vote_alone(tmp_path):
    path = tmp_path / "votes.jsonl"
    for _ in range(2):
        votes.append(path, Vote("prompt", A, B))
    path.write_bytes(path.read_bytes()[:-9])
    votes.append(path, Vote("drawing", B, A))
    assert votes.read(path) == ([Vote("prompt", A, B), Vote("drawing", B, A)], 1)


def test_a_killed_process_has_kept_every_vote_that_it_reported(tmp_path):
    path = tmp_path / "votes.jsonl"
    code = (
        "import sys, pathlib\nfrom latentlab.analysis.votes import Vote, append\n"
        "for k in range(10**6):\n"
        "    append(pathlib.Path(sys.argv[1]), Vote('prompt', 'a', 'b', str(k)))\n    print(k, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    reported = [process.stdout.readline().strip() for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    kept, _ = votes.read(path)
    assert [vote.prompt for vote in kept][:20] == reported


def test_votes_of_several_visitors_at_once_are_all_kept(tmp_path):
    path = tmp_path / "votes.jsonl"
    threads = [
        threading.Thread(target=lambda: [votes.append(path, Vote("prompt", A, B)) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept, broken = votes.read(path)
    assert len(kept) == 80 and broken == 0


def test_the_results_have_wilsons_interval_for_each_pair_and_question():
    cast = [Vote("prompt", A, B)] * 7 + [Vote("prompt", B, A)] * 3 + [Vote("drawing", B, A)] * 9
    drawing, prompt = votes.results(cast)
    ends = binomtest(7, 10).proportion_ci(method="wilson")
    assert (prompt["system"], prompt["against"], prompt["value"], prompt["n"]) == (A, B, 0.7, 10)
    assert prompt["low"] == pytest.approx(ends.low, abs=1e-4) and prompt["high"] == pytest.approx(ends.high, abs=1e-4)
    assert votes.sentences([prompt, drawing]) == [
        f"prompt: no preference between {A} and {B} can be told from n = 10",
        f"drawing: {B} is preferred to {A} in 100% of 9 votes",
    ]


def test_the_variable_names_the_file_and_a_space_without_it_has_none(monkeypatch, tmp_path):
    monkeypatch.delenv(votes.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert votes.votes_file(on_space=True) is None
    assert votes.votes_file(on_space=False) == tmp_path / "latentlab" / "votes.jsonl"
    monkeypatch.setenv(votes.VARIABLE, str(tmp_path / "x.jsonl"))
    assert votes.votes_file(on_space=True) == tmp_path / "x.jsonl"


def test_a_file_that_can_not_be_written_or_read_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"can't be written to .* \(.*\): set LATENTLAB_VOTES to a file that can"):
        votes.append(tmp_path, Vote("prompt", A, B))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't be written"):
        votes.append(tmp_path / "file" / "votes.jsonl", Vote("prompt", A, B))
    with pytest.raises(UserError, match="can't be read"):
        votes.read(tmp_path)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("vote", [("beauty", A, B), ("prompt", A, A)])
def test_a_vote_on_no_question_or_on_one_system_is_refused(vote):
    with pytest.raises(UserError, match="the questions are drawing, prompt, diversity"):
        Vote(*vote)
