"""The autoregressive prior: its code of z_i, the network on it, its sampler, and what it refuses."""

import dataclasses

import pytest
import torch

from latentlab import UserError, experiments
from latentlab.analysis.pca import Directions
from latentlab.analysis.quantiser import Quantiser
from latentlab.autoregression import choose
from latentlab.models.autoregressive_prior import FILE, AutoregressivePrior, CodeTransformer, load
from latentlab.prior import CodePrior, PriorConditioning, sample
from latentlab.slerp import normalize
from latentlab.training.autoregressive_prior import AutoregressivePriorTraining, Examples

D, L, W, K, BINS = 12, 5, 7, 4, 8


@pytest.fixture(scope="module")
def clouds():
    """400 z_i and z_t that are alike, of falling variance."""
    generator = torch.Generator().manual_seed(0)
    z_i = torch.randn(400, D, generator=generator) * torch.logspace(0, -2, D)
    return z_i, z_i + 0.3 * torch.randn(400, D, generator=generator)


@pytest.fixture(scope="module")
def quantiser(clouds):
    return Quantiser.fit(Directions.fit(clouds[0], K), *clouds, bins=BINS)


@pytest.fixture(scope="module")
def prior(quantiser):
    torch.manual_seed(0)
    network = CodeTransformer(text=W, context=L, embed=D, length=1 + K, bins=BINS, width=16, layers=2, heads=2).eval()
    for weight in network.parameters():
        weight.data = 0.4 * torch.randn(weight.shape)
    return AutoregressivePrior(network.double(), quantiser, encode_prompt)


def encode_prompt(prompts):
    """Random tokens of as many words as a prompt has, and zeros after them."""
    rows = [torch.Generator().manual_seed(len(prompt)) for prompt in prompts]
    z_t = torch.stack([torch.randn(D, generator=g, dtype=torch.float64) for g in rows])
    tokens = torch.stack([torch.randn(L, W, generator=g, dtype=torch.float64) for g in rows])
    words = torch.tensor([len(prompt.split()) for prompt in prompts])
    return PriorConditioning(z_t, tokens * (torch.arange(L) < words[:, None])[..., None])


def test_every_bin_holds_as_many_examples(clouds, quantiser):
    codes = quantiser.encode(*clouds)
    assert codes.shape == (400, 1 + K)
    for column in codes.T:
        assert (torch.bincount(column, minlength=BINS) - 400 / BINS).abs().max() <= 1


def test_a_decoded_code_has_the_same_code_again(clouds, quantiser):
    codes = quantiser.encode(*clouds)
    z_i = quantiser.decode(codes)
    assert torch.equal(quantiser.encode(z_i, clouds[1])[:, 1:], codes[:, 1:])


def test_more_bins_lose_less_and_none_loses_less_than_its_components(clouds):
    directions, losses = Directions.fit(clouds[0], K), []
    for bins in (4, 16, 64):
        q = Quantiser.fit(directions, *clouds, bins=bins)
        losses.append((q.decode(q.encode(*clouds)) - clouds[0]).square().mean())
    floor = (directions.reconstruct(clouds[0], K) - clouds[0]).square().mean()
    assert losses[0] > losses[1] > losses[2] > floor


def test_a_saved_quantiser_comes_back(tmp_path, clouds, quantiser):
    quantiser.save(tmp_path / "q.safetensors")
    again = Quantiser.load(tmp_path / "q.safetensors")
    assert torch.equal(again.encode(*clouds), quantiser.encode(*clouds))
    assert "4 components of width 12, 8 bins" in repr(again)


def test_the_first_number_is_the_cosine_of_picture_and_prompt(clouds, quantiser):
    cosine = (normalize(clouds[0]) * normalize(clouds[1])).sum(-1).double()
    first = quantiser.encode(*clouds)[:, 0]
    assert all(cosine[first == k].max() < cosine[first == k + 1].min() for k in range(BINS - 1))


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@torch.no_grad()
def test_the_cached_sampler_draws_what_the_whole_network_predicts(prior, guidance):
    cond = encode_prompt(["a fox", "a very red apple"])
    uniform = torch.rand(2, 1 + K, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    codes = prior._codes(uniform, cond, guidance)
    logits = prior.network(cond.z_t, cond.tokens, codes)
    if guidance != 1:
        without = prior.network(0 * cond.z_t, 0 * cond.tokens, codes)
        logits = without + guidance * (logits - without)
    for k in range(1 + K):
        assert torch.equal(choose(logits[:, k], uniform[:, k]), codes[:, k])


@torch.no_grad()
def test_the_network_reads_no_number_before_its_time_and_nothing_after_a_prompt(prior):
    cond, codes = encode_prompt(["a fox", "an old red apple"]), torch.zeros(2, 1 + K, dtype=torch.long)
    logits = prior.network(cond.z_t, cond.tokens, codes)
    other = codes.clone()
    other[:, 2:] = 3
    torch.testing.assert_close(prior.network(cond.z_t, cond.tokens, other)[:, :3], logits[:, :3])
    alone = prior.network(cond.z_t[:1], cond.tokens[:1], codes[:1])  # without the longer prompt beside it
    torch.testing.assert_close(alone, logits[:1])


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_draw_depends_on_its_prompt_and_seed_alone(prior, guidance):
    prompts = ["a fox", "an old red apple", "a fox"]
    z_i = sample(prior, prompts, seeds=[1, 2, 1], guidance=guidance, candidates=3)
    assert isinstance(prior, CodePrior) and z_i.shape == (3, D)
    assert torch.equal(z_i[0], z_i[2]) and not torch.equal(z_i[0], z_i[1])
    alone = sample(prior, prompts[1:2], seeds=[2], guidance=guidance, candidates=3)
    torch.testing.assert_close(alone[0], z_i[1])


def test_the_cosine_is_drawn_from_the_top_half(prior, quantiser):
    """With a first number that the network finds equally likely, no draw is below the median."""
    network = CodeTransformer.from_config(prior.network.config).double().eval()
    network.transformer.wte.weight.data[:BINS] = 0  # equal logits for the first number
    even = AutoregressivePrior(network, quantiser, encode_prompt)
    noise = torch.randn(200, 1 + K, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    uniform = torch.special.ndtr(noise)
    uniform[:, 0] = (1 + uniform[:, 0]) / 2
    codes = even._codes(uniform, encode_prompt(["a fox"]).expand(200), 1.0)
    assert codes[:, 0].min() >= BINS // 2 - 1 and codes[:, 0].max() == BINS - 1


@pytest.fixture(scope="module")
def trained(miniature):
    """A tiny prior of the miniature after 12 steps, and its loss on held-out examples before and after."""
    cond = miniature.prior.encode_prompt(["a fox", "a red apple"])
    z_i = normalize(torch.randn(64, cond.z_t.shape[1], generator=torch.Generator().manual_seed(0)))
    examples = Examples(z_i, cond.z_t.repeat(32, 1), cond.tokens.repeat(32, 1, 1))
    few = Examples(*(tensor[:8] for tensor in examples))
    parts = (miniature.encoder, miniature.prior.encode_prompt, examples, few, ["a fox", "a red apple"])
    part = AutoregressivePriorTraining(*parts, bins=8, width=16, layers=1, heads=2)
    before = part.measure(part.network)
    optimizer = torch.optim.Adam(part.network.parameters(), 0.01)
    for step in range(12):
        optimizer.zero_grad()
        part.loss(step).backward()
        optimizer.step()
    return part, before, part.measure(part.network.eval())


@pytest.fixture
def export(trained, tmp_path):
    trained[0].export(trained[0].network, tmp_path)
    return tmp_path


def test_training_on_a_lab_with_directions_lowers_the_loss(trained):
    part, before, after = trained
    assert after["held_out_nats"] < before["held_out_nats"] and 0 <= after["top1_of_sampled"] <= 1
    assert part.preview(part.network).width > 0 and part.matrices()


def test_an_export_loads_and_gives_generate_and_the_ablation_one_more_choice(miniature, export):
    second = load(export, miniature.encoder, miniature.prior.encode_prompt)
    lab = dataclasses.replace(miniature, load_autoregressive_prior=lambda: second)
    result = experiments.generate(lab, "a fox", prior="autoregressive", seeds=[0, 1], steps=1)
    assert result.settings["prior"] == "autoregressive" and len(result.pixels) == 2
    named = experiments.ablate(lab, ["a fox", "a red apple"], steps=1)
    assert named.signals == ("prompt only", "z_t", "prior", "autoregressive prior")
    assert any("9.16" in note for note in named.notes)


def test_a_prior_of_another_clip_is_left_out_and_a_damaged_one_refused(miniature, export, trained, quantiser):
    names = (miniature.encoder, miniature.prior.encode_prompt)
    quantiser.save(export / FILE)  # of another CLIP, since its metadata lacks this one's fingerprint
    assert load(export, *names) is None and load(export / "nowhere", *names) is None
    (export / FILE).write_bytes((export / FILE).read_bytes()[:-4])
    with pytest.raises(UserError, match="is not a whole safetensors file"):
        load(export, *names)


def test_a_lab_without_directions_or_without_the_prior_is_refused_with_what_to_do(lab, clouds, quantiser, prior):
    with pytest.raises(UserError, match="this lab has no Directions: `latentlab pca` fits them"):
        Quantiser.fit(None, *clouds)
    with pytest.raises(UserError, match="toy has no autoregressive prior: take prior='diffusion'"):
        experiments.generate(lab, "a cat", prior="autoregressive")
    with pytest.raises(UserError, match="prior is 'other': give diffusion or autoregressive"):
        experiments.generate(lab, "a cat", prior="other")
    with pytest.raises(UserError, match="bins is 500 for 400 examples"):
        Quantiser.fit(quantiser.directions, *clouds, bins=500)
    with pytest.raises(UserError, match=r"numbers from 0 to 7"):
        quantiser.decode(torch.full((1, 1 + K), 8))
    with pytest.raises(UserError, match="400 z_i and 2 z_t"):
        quantiser.encode(clouds[0], clouds[1][:2])
    with pytest.raises(UserError, match=r"Quantiser\.fit makes them"):
        dataclasses.replace(quantiser, edges=quantiser.edges[1:])
    other = CodeTransformer(text=W, context=L, embed=D, length=3, bins=4, width=16, layers=1, heads=2)
    with pytest.raises(UserError, match="predicts 3 numbers of 4 bins, and its quantiser has 5 of 8"):
        AutoregressivePrior(other, quantiser, encode_prompt)
