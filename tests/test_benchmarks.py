"""The benchmark of the families, tried on tiny networks."""

import importlib.util
from pathlib import Path

import pytest
import torch

from latentlab import models

PATH = Path(__file__).parent.parent / "benchmarks" / "families.py"


@pytest.fixture(scope="module")
def families():
    spec = importlib.util.spec_from_file_location("families", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [row.name for row in models.REGISTRY.values() if row.sources])
def test_every_family_is_timed_in_two_precisions_on_the_same_weights(families, name):
    dtypes = [torch.float32, torch.bfloat16]
    rows = list(families.rows([name], torch.device("cpu"), dtypes, 1, True, ["diff", "classify"]))
    assert [(row["precision"], row["experiment"]) for row in rows] == [
        ("float32", "diff"),
        ("float32", "classify"),
        ("bfloat16", "diff"),
        ("bfloat16", "classify"),
    ]
    assert all(row["runs"] == "yes" and row["seconds"] > 0 for row in rows)
    exact, half = rows[0]["difference"], rows[2]["difference"]
    assert exact == 0 and 0 < half < 0.1


def test_the_full_sizes_need_a_gpu(families, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(families.typer.BadParameter, match="--tiny tries this command on a CPU"):
        families.main()
