"""The example in CONTRIBUTING.md is an experiment that works as it stands there."""

import re
import sys
import types
from pathlib import Path

from latentlab.experiments import Progress

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text("utf-8")


def test_the_example_experiment_runs_and_declares_itself(lab, monkeypatch):
    module = types.ModuleType("agreement")
    monkeypatch.setitem(sys.modules, "agreement", module)  # dataclasses look their module up
    exec(re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1], vars(module))
    *progress, result = module.agree.stream(lab, "a cat", seeds=(3, 4), steps=2)
    assert {p.stage for p in progress if isinstance(p, Progress)} <= set(module.agree.stages)
    assert "mean cosine" in result.summary() and result.figure().axes
    assert (result.settings["prompt"], result.settings["seeds"], result.settings["steps"]) == ("a cat", (3, 4), 2)
    assert module.agree.count_images(lab, "a cat", seeds=(3, 4)) == len(result.pixels)
