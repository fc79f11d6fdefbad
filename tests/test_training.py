"""The training loop on a network of one weight, and the report's arithmetic."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import types
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn

from latentlab import experiments
from latentlab.training import cost, loop, report, report_table
from latentlab.training.rendering import Renderer
from latentlab.training.things import things

CPU = torch.device("cpu")


class Slope(loop.Part):
    """Learns w in y = 3 x."""

    name = "slope"
    lr = 0.05
    ema_decay = 0.9

    def __init__(self):
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        self.steps: list[int] = []

    def loss(self, step: int) -> torch.Tensor:
        self.steps.append(step)
        x = torch.randn(16, 1, generator=torch.Generator().manual_seed(step))
        return (self.network(x) - 3 * x).square().mean()

    def measure(self, network):
        return {"slope": network.weight.item()}

    def preview(self, network):
        return Image.new("RGB", (2, 2))

    def export(self, network, folder):
        folder.mkdir(exist_ok=True)
        (folder / "weights.txt").write_text(str(network.weight.item()))


@pytest.fixture
def clock(monkeypatch):
    """A clock by which each step takes ten milliseconds, however busy the machine is."""
    ticks = itertools.count()
    monkeypatch.setattr(loop, "time", types.SimpleNamespace(perf_counter=lambda: next(ticks) / 100))


def test_a_run_learns_and_writes_a_checkpoint_a_preview_a_curve_and_an_export(tmp_path, clock):
    summary = loop.train(Slope(), tmp_path, minutes=0.1, device=CPU)
    assert summary["step"] == pytest.approx(600, abs=1)
    assert summary["slope"] == pytest.approx(3, abs=0.05)
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"checkpoint.pt", "log.jsonl", "preview.png", "loss.png", "export"}


def test_half_a_line_of_a_killed_run_does_not_spoil_the_next_line_of_the_log(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2, "lo')
    loop.train(Slope(), tmp_path, minutes=0.001, device=CPU)
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps[0] == 1 and len(steps) == 2 and steps[1] != 2


def test_a_resumed_run_goes_on_where_the_last_one_stopped(tmp_path):
    first = loop.train(Slope(), tmp_path, minutes=0.01, device=CPU)
    part = Slope()
    second = loop.train(part, tmp_path, minutes=0.01, device=CPU)
    assert part.steps[0] == first["step"]
    assert second["step"] == first["step"] + len(part.steps)
    assert second["hours"] > first["hours"]


def test_a_run_resumes_with_one_optimizer_instead_of_two_where_bfloat16_is_slow(tmp_path, monkeypatch):
    class Hidden(Slope):
        def matrices(self):
            return [self.network.weight]

    monkeypatch.setattr(loop, "bfloat16_pays", lambda device: True)
    first = loop.train(Hidden(), tmp_path, minutes=0.01, device=CPU)
    assert len(torch.load(tmp_path / "checkpoint.pt")["optimizers"]) == 2
    monkeypatch.setattr(loop, "bfloat16_pays", lambda device: False)
    part = Hidden()
    loop.train(part, tmp_path, minutes=0.01, device=CPU)
    assert part.steps[0] == first["step"]
    assert len(torch.load(tmp_path / "checkpoint.pt")["optimizers"]) == 1


def test_restart_forgets_the_checkpoint(tmp_path):
    loop.train(Slope(), tmp_path, minutes=0.01, device=CPU)
    part = Slope()
    loop.train(part, tmp_path, minutes=0.01, device=CPU, resume=False)
    assert part.steps[0] == 0


def test_a_terminated_run_saves_before_it_ends(tmp_path):
    part = Slope()
    part.loss = lambda step: (os.kill(os.getpid(), signal.SIGTERM) if step == 5 else None) or Slope.loss(part, step)
    summary = loop.train(part, tmp_path, minutes=5, device=CPU)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == summary["step"] == 6


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_checkpoint(tmp_path):
    loop.train(Slope(), tmp_path, minutes=0.01, device=CPU)
    checkpoint = (tmp_path / "checkpoint.pt").read_bytes()
    part = Slope()
    part.loss = lambda step: part.network.weight.sum() * math.nan
    with pytest.raises(FloatingPointError, match="slope"):
        loop.train(part, tmp_path, minutes=0.01, device=CPU)
    assert (tmp_path / "checkpoint.pt").read_bytes() == checkpoint


def test_the_peak_memory_of_a_new_process_is_its_own_and_not_that_of_this_one():
    code = "from latentlab.training.cost import peak_gigabytes; print(peak_gigabytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.1 < cost.peak_gigabytes()


def test_write_card_replaces_the_table_and_keeps_the_rest_of_the_card(tmp_path):
    card = tmp_path / "MODEL_CARD.md"
    card.write_text("before\n<!-- report -->\nold\n<!-- /report -->\nafter\n")
    rows = [report_table.proportion("top-1", torch.tensor([True, False, True, True]), 0.5, 0.9)]
    report_table.write_card(rows, card)
    report_table.write_card(rows, card)
    text = card.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert text.count("| top-1 | 0.75 |") == 1
    assert "old" not in text


def test_a_report_s_rows_are_plain_json():
    rows = [
        report_table.proportion("a", torch.tensor([True, False])),
        report_table.mean("b", torch.tensor([1.0, 2.0]), "dB", 35),
    ]
    assert json.loads(json.dumps(rows)) == rows


def test_a_report_s_rows_have_the_same_names_whether_they_have_an_interval_or_not():
    rows = [report_table.proportion("a", torch.tensor([True] * n), 0.5) for n in (1, 9)]
    rows += [report_table.mean("b", torch.arange(n).float(), "dB") for n in (1, 9)]
    assert all(list(row) == ["name", "value", "n", "interval", "least", "goal", "unit"] for row in rows)
    assert [row["interval"] and len(row["interval"]) for row in rows] == [None, 2, None, 2]
    assert rows[1]["interval"] == pytest.approx([9 / (9 + 1.96**2), 1], abs=1e-4)  # Wilson's, when all are right
    assert "| a | 1 |  | 1 |" in report_table.table(rows)


@pytest.fixture
def zero_shot(miniature):
    """A classifier whose classes are the axes, so that a z_i can be any thing by name."""
    zero_shot = report.ZeroShot(miniature)
    zero_shot.classes = torch.eye(len(zero_shot.names))
    return zero_shot


def test_a_rank_is_the_number_of_things_that_score_higher(zero_shot):
    z_i = torch.zeros(3, len(zero_shot.names))
    z_i[:, :3] = torch.tensor([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [-1.0, 3.0, 2.0]])
    assert zero_shot.ranks(z_i, [zero_shot.names[0]] * 3).tolist() == [0, 2, len(zero_shot.names) - 1]


def test_a_tie_counts_against_the_wanted_thing(zero_shot):
    z_i = torch.zeros(2, len(zero_shot.names))
    z_i[0, :2] = 1
    assert zero_shot.ranks(z_i, [zero_shot.names[0]] * 2).tolist() == [1, len(zero_shot.names) - 1]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_embedding_that_is_not_finite_is_never_right(zero_shot, bad):
    z_i = torch.eye(len(zero_shot.names))[:2].clone()
    z_i[0, 1] = bad
    assert zero_shot.ranks(z_i, [zero_shot.names[0], zero_shot.names[1]]).tolist() == [len(zero_shot.names) - 1, 0]


def test_the_report_generates_as_a_user_does_who_changes_no_default(miniature, sprites):
    lab = replace(miniature, upsampler=None)
    setup = report.Setup(lab, report.ZeroShot(lab), None, sprites, Renderer(sprites), 0)
    captions = ["a cat", "a dog"]
    pictures = report._generated(setup, captions, 7)
    for k, caption in enumerate(captions):
        own = experiments.generate(lab, caption, seeds=(7 + k,)).pixels
        torch.testing.assert_close(pictures[k : k + 1], own, atol=1e-4, rtol=0)


def test_the_report_has_rows_of_dalle_where_the_lab_has_one(miniature, monkeypatch):
    setup = report.Setup(miniature, report.ZeroShot(miniature), None, None, None, 0)
    monkeypatch.setattr(report, "things", lambda: things()[:3])
    monkeypatch.setattr(report, "CANDIDATES", 2)
    setup.clip.names[3:], setup.clip.classes = [], setup.clip.classes[:3]
    rows = report._dalle_rows(setup)
    assert [row["name"] for row in rows] == [
        "top-1 of DALL·E 1, “a thing”",
        "top-1 of DALL·E 1, “a thing”, best of 2 by CLIP",
    ]
    assert [row["n"] for row in rows] == [3, 3]
    without = replace(setup, lab=replace(miniature, load_dalle=None))
    assert report._dalle_rows(without) == []


def test_the_comparison_uses_each_held_out_scene_once_and_measures_four_signals(miniature, sprites):
    from latentlab.training import comparison, scenes

    held_out = comparison.held_out_scenes(sprites, 40)
    assert len({s.caption for s in held_out}) == 40
    assert all(scenes.held_out(s.thing, s.facts["colour"], s.facts["place"]) for s in held_out)
    result = comparison.compare(miniature, sprites, count=40, steps=2)
    assert result.signals == ("prompt only", "z_t", "prior", "real z_i")
    lines = comparison.table(result).splitlines()
    assert lines[0].startswith("| n = 40 | Fréchet distance | CMMD | CLIP score | accuracy | recall | ")
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| " + signal for signal in result.signals]


def test_five_of_nine_z_i_are_turned_towards_a_text_diff_by_at_most_half_the_arc():
    from types import SimpleNamespace

    from latentlab.slerp import angle
    from latentlab.training.decoder import Decoder

    generator = torch.Generator().manual_seed(0)
    z_i, captions = torch.randn(4000, 32, generator=generator), torch.randn(50, 32, generator=generator).half()
    turned = Decoder._turned(SimpleNamespace(captions=captions), z_i, generator)
    moved = angle(z_i, turned)
    assert abs((moved > 1e-3).float().mean() - 5 / 9) < 0.03
    assert moved.max() < 0.55 * torch.pi
    torch.testing.assert_close(turned.norm(dim=1), z_i.norm(dim=1))
    same = Decoder._turned(
        SimpleNamespace(captions=captions[:1]), z_i, generator
    )  # one caption has no difference, so no direction
    assert same.isfinite().all()


def test_stratified_times_have_one_in_each_equal_interval():
    from latentlab.training.decoder import TIME_LIMIT, stratified

    t = stratified(9, torch.Generator().manual_seed(0))
    assert sorted((t * 9 // TIME_LIMIT).tolist()) == list(range(9))
    assert t.tolist() != sorted(t.tolist())


def test_linear_map_recovers_the_map_between_two_spaces():
    from latentlab.training.decoder import linear_map

    a, wanted = torch.randn(400, 6), torch.randn(4, 6)
    torch.testing.assert_close(linear_map(a, a @ wanted.T, ridge=1e-9), wanted, atol=1e-4, rtol=1e-4)


def test_the_judge_ranks_nan_last_and_a_missing_judge_is_refused_with_the_command_that_trains_it(tmp_path):
    from latentlab.errors import UserError
    from latentlab.training.judge import Judge

    class Brightness(nn.Module):
        def forward(self, x):
            return torch.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], 1)

    judge = Judge(Brightness(), ["sun", "night"])
    pictures = torch.stack([torch.ones(3, 64, 64), -torch.ones(3, 64, 64), torch.full((3, 64, 64), math.nan)])
    assert judge.ranks(pictures, ["sun", "sun", "sun"]).tolist() == [0, 1, 1]
    assert judge(torch.ones(1, 3, 128, 128)).shape == (1, 2)
    with pytest.raises(UserError, match=r"latentlab\.training judge"):
        Judge.load(tmp_path)


def test_the_judges_augmentation_keeps_pictures_in_range_and_differs_by_seed():
    from latentlab.training.judge import augmented

    x = torch.rand(6, 3, 32, 32) * 2 - 1
    one, again, other = (augmented(x, torch.Generator().manual_seed(k)) for k in (1, 1, 2))
    assert one.shape == x.shape and one.abs().max() <= 1
    assert one.equal(again) and not one.equal(other)


@pytest.mark.parametrize("attribute", ["author", "licence"])
def test_the_card_names_every_artist_and_licence(attribute):
    from latentlab.models.emoji_files import weights_folder
    from latentlab.training.icon_sets import STYLES

    card = (weights_folder() / "MODEL_CARD.md").read_text("utf-8")
    lines = [line for line in card.splitlines() if line.startswith("|")]
    for name, style in STYLES.items():
        row = next((line for line in lines if f"`@iconify-json/{name}` {style.version}" in line), "")
        assert getattr(style, attribute) in row, f"{name}: {getattr(style, attribute)} is not in its line {row!r}"


def test_every_part_is_trained_in_order_for_its_share(monkeypatch):
    from latentlab.training import __main__ as command

    runs = []
    for name in (*command.SHARES, "directions"):
        part = lambda name=name, **settings: runs.append((name, settings))  # noqa: E731
        part.__name__ = name
        monkeypatch.setattr(command, name, part)
    command.every_part(minutes=10, scenes=64, from_shipped=True)
    assert [name for name, _ in runs] == ["clip", "autoencoder", "prior", "decoder", "upsampler", "judge", "directions"]
    assert sum(settings.get("minutes", 0) for _, settings in runs) == pytest.approx(10)
    assert all(settings["from_shipped"] for name, settings in runs if name != "directions")
    assert [settings["scenes"] for _, settings in runs if "scenes" in settings] == [64, 64, 64]


def test_an_upsampler_of_larger_blocks_starts_as_the_one_of_smaller_blocks_on_pictures_enlarged_by_pixels(rng):
    from latentlab.training import upsampler

    part = upsampler.Upsampler.__new__(upsampler.Upsampler)
    small, part.network = upsampler.build((8, 16), scale=2), upsampler.build((8, 16), scale=4)
    part.network.load_state_dict(part.adopt(small.state_dict(), None))
    pictures, t = torch.randn(2, 6, 32, 16, generator=rng), torch.tensor([3, 700])
    twice = pictures.repeat_interleave(2, 2).repeat_interleave(2, 3)
    with torch.no_grad():
        want = nn.functional.pixel_shuffle(small(nn.functional.pixel_unshuffle(pictures, 2), t).sample, 2)
        have = nn.functional.pixel_shuffle(part.network(nn.functional.pixel_unshuffle(twice, 4), t).sample, 4)
    torch.testing.assert_close(have, want.repeat_interleave(2, 2).repeat_interleave(2, 3), rtol=1e-4, atol=1e-5)
