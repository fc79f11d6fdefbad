"""The benchmark of the families, tried on tiny networks, and the plan of a corpus."""

import dataclasses
import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from latentlab import models
from latentlab.models.emoji import EmojiDecoder
from latentlab.models.inpainter import InpaintingDelta, inpainting_decoder

FOLDER = Path(__file__).parent.parent / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def families():
    return load("families")


@pytest.fixture(scope="module")
def corpora():
    return load("corpora")


def test_the_plan_in_the_docs_follows_from_the_assumptions(corpora):
    page = (FOLDER.parent / "docs" / "corpora.md").read_text("utf-8")
    measured = ("PCA of all shards",)  # its seconds are the machine's
    for quantity, formula, numbers, value in corpora.lines(corpora.Assumptions()):
        rest = "" if quantity in measured else f"{numbers} | {value} |"
        assert f"| {quantity} | {formula} | {rest}" in page


def test_twice_the_pictures_take_twice_the_hours_and_twice_the_gpus_half(corpora):
    plan, more = corpora.Assumptions(), corpora.Assumptions(pictures=2e8)
    assert more.hours == pytest.approx(2 * plan.hours)
    assert corpora.Assumptions(gpus=16).hours == pytest.approx(plan.hours / 2)


def test_the_operations_of_a_vit_are_those_that_torch_counts(corpora):
    from torch.utils.flop_counter import FlopCounterMode

    a = corpora.Assumptions(layers=2, hidden=64, tokens=17)
    layer = torch.nn.TransformerEncoderLayer(64, 4, 256, dropout=0.0, batch_first=True)
    blocks = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    with FlopCounterMode(display=False) as counter:
        blocks(torch.randn(1, 17, 64, requires_grad=True))
    assert counter.get_total_flops() == pytest.approx(a.flops, rel=0.02)


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


def row(value, half):
    return {"value": value, "low": value - half, "high": value + half}


def test_a_prior_is_called_better_only_where_the_intervals_are_apart():
    priors = load("priors")
    same = {quantity: row(0.5, 0.1) for quantity in priors.HIGHER_IS_BETTER} | {"hours of training": 1.0}
    nothing = priors.sentence({"diffusion": same, "autoregressive": same})
    assert "better in" not in nothing and "no difference can be told in accuracy, CLIP score" in nothing
    near = {**same, "accuracy": row(0.9, 0.05), "CMMD": row(0.9, 0.05)}  # a higher accuracy, and a larger distance
    text = priors.sentence({"diffusion": near, "autoregressive": same})
    assert (
        "the diffusion prior is better in accuracy;" in text and "the autoregressive prior is better in CMMD;" in text
    )


def test_a_system_of_the_road_is_called_better_only_where_the_intervals_are_apart():
    road = load("road")
    tables = {name: {"CMMD": row(value, 0.1)} for name, value in (("a", 1.0), ("b", 0.95), ("c", 2.0))}
    assert road.sentence(tables, {}, "CMMD") == "CMMD: b is better than c; no difference to a can be told."
    tables = {name: {"recall": row(value, 0.1)} for name, value in (("a", 0.3), ("b", 0.9))} | {"draws few": {}}
    assert road.sentence(tables, {}, "recall") == "recall: b is better than a."


def test_systems_of_the_road_are_compared_prompt_by_prompt_where_that_is_possible():
    road, prompts = load("road"), torch.rand(40, generator=torch.Generator().manual_seed(0))
    values = {"a": {"CLIP score": prompts}, "b": {"CLIP score": prompts[:20] + 0.01}}  # b drew fewer, a bit better
    tables = {name: {"CLIP score": road.row_of(column["CLIP score"])} for name, column in values.items()}
    assert tables["b"]["CLIP score"]["low"] < tables["a"]["CLIP score"]["high"]
    assert "better than" in road.sentence(tables, values, "CLIP score")


def test_binding_is_called_worse_only_where_the_prompts_show_it():
    road, right = load("road"), torch.arange(60) % 2 == 0
    for others, verdict in ((right & False, "binds worse than"), (right.flip(0), "can't be told to bind otherwise")):
        values = {"glide": {road.EACH[3]: right}, "unclip": {road.EACH[3]: others}}
        assert verdict in road.binding_sentence(values, "glide", "unclip")


def test_the_table_of_the_road_says_which_system_drew_fewer_prompts():
    road = load("road")
    tables = {"a": {"accuracy": road.row_of(torch.ones(40) > 0)}, "b": {"accuracy": road.row_of(torch.ones(9) > 0)}}
    table = road.table_of(tables)
    assert "n = 40" in table and "n = 9" in table
    assert "accuracy, n = 40" in road.table_of({"a": tables["a"]})


def test_dalle_is_measured_with_the_cache_and_without(miniature):
    rows = list(load("dalle").measured(miniature.require_dalle(), [1], rounds=1))
    assert [row["guidance"] for row in rows] == [1.0, 3.0]
    assert all(row["cache"] > 0 and row["no cache"] > 0 for row in rows)


def test_edits_of_every_method_spend_the_budget_and_are_measured(miniature, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)  # it imports another benchmark
    edits, lab = load("edits"), dataclasses.replace(miniature, things=("a cat", "a dog", "a frog"))
    decoder = inpainting_decoder(lab.decoder, InpaintingDelta(lab.decoder.network))
    lab = dataclasses.replace(lab, load_inpainting=lambda: decoder)
    rows, pictures = [0, 1], torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    calls = []
    eps = EmojiDecoder.eps
    monkeypatch.setattr(EmojiDecoder, "eps", lambda self, x, *a: calls.append(len(x)) or eps(self, x, *a))

    class Judge:
        def ranks(self, shown, names):
            assert names == ["cat-face", "dog-face"] and shown.shape[-1] < 64
            return torch.tensor([0, 3])

    wanted, table = edits.asked(lab, rows), []
    for name, params in edits.methods(6).items():
        calls.clear()
        measured, pixels = edits.measure(lab, Judge(), pictures, 0.6, rows, wanted, params)
        assert len(calls) in (5, 6), "all of the budget"
        assert measured[edits.JUDGED]["value"] == 0.5 and measured.keys() == set(edits.QUANTITIES)
        mask = edits.centred(64, 0.6)
        assert torch.equal(pixels[..., ~mask], pictures[..., ~mask])
        table += [{"method": name, "side": side, **measured} for side in edits.SIDES]
    assert edits.sentence(table, edits.FINE_TUNED).endswith("no difference can be told.")
    better = {edits.JUDGED: row(0.9, 0.0), "change across the border": row(9.0, 0.0)}
    table = [{**r, **better} if r["method"] == edits.FINE_TUNED and r["side"] == 0.8 else r for r in table]
    text = edits.sentence(table, edits.FINE_TUNED)
    assert "worse in change across the border at 0.8" in text and "at 0.6" not in text
