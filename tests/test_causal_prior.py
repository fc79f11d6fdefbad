"""The prior that computes a caption's keys and values once, against diffusers' own, which does so at every step."""

import copy

import pytest
import torch
from diffusers import PriorTransformer

from latentlab.models.causal_prior import CaptionCache, CausalPrior
from latentlab.models.emoji import EmojiPrior
from latentlab.prior import sample

LAYERS = CausalPrior._layers

L, D = 7, 16  # tokens of a caption, width of z
VARIANTS = {
    "as Karlo": {},
    "text as wide as the network": {"encoder_hid_proj_type": None, "embedding_dim": 24},
    "normalised": {"norm_in_type": "layer", "embedding_proj_norm_type": "layer"},
    "without a query": {"added_emb_type": None, "additional_embeddings": 3},
}


def networks(**config):
    """Ours and diffusers' prior with the same random weights."""
    config = {"embedding_dim": D, "num_embeddings": L, "num_attention_heads": 3, "attention_head_dim": 8} | config
    torch.manual_seed(0)
    stock = PriorTransformer(**config, num_layers=3).double().eval()
    for weight in stock.parameters():
        weight.data = 0.3 * torch.randn(weight.shape, dtype=weight.dtype)
    ours = CausalPrior(**config, num_layers=3).double().eval()
    ours.load_state_dict(stock.state_dict())
    return stock, ours


def captions_of(network, seeds):
    """z_t, states and a mask of one caption a seed: the same seed gives the same caption."""
    width, rows = network.config.embedding_dim, [torch.Generator().manual_seed(seed) for seed in seeds]
    z_t = torch.stack([torch.randn(width, generator=g, dtype=torch.float64) for g in rows])
    states = torch.stack([torch.randn(L, width, generator=g, dtype=torch.float64) for g in rows])
    return z_t, states, torch.arange(L) < 3 + torch.tensor(seeds)[:, None] % 4


def noised(network, count, seed):
    return torch.randn(count, network.config.embedding_dim, dtype=torch.float64, generator=torch.manual_seed(seed))


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_every_step_of_the_causal_prior_is_that_of_diffusers(variant):
    stock, ours = networks(**VARIANTS[variant])
    cache = CaptionCache()
    for k, captions in enumerate([[1, 1, 2], [1, 1, 2], [2, 1, 1], [3], [3, 4, 3, 4], [3, 4, 3, 4]]):
        x, text = noised(stock, len(captions), k), captions_of(stock, captions)
        for t in (900, torch.tensor(400), torch.full((len(x),), 3)):
            wanted = stock(x, t, *text).predicted_image_embedding
            z_i = ours(x, t, *text, cache=cache).predicted_image_embedding
            torch.testing.assert_close(z_i, wanted, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(ours(x, t, *text, return_dict=False)[0], wanted, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_a_caption_is_computed_once_for_all_steps_and_samples():
    _, ours = networks()
    shapes, cache = [], CaptionCache()
    ours.transformer_blocks[0].ff.register_forward_hook(lambda module, args, output: shapes.append(output.shape[:2]))
    for t in (900, 500, 100):
        ours(noised(ours, 6, t), t, *captions_of(ours, [5, 6, 5, 6, 5, 5]), cache=cache)
    assert shapes == [(2, L + 1), (6, 3), (6, 3), (6, 3)]


@torch.no_grad()
def test_weights_changed_in_place_take_effect_at_the_next_evaluation():
    stock, ours = networks()
    x, text = noised(stock, 2, 0), captions_of(stock, [1, 2])
    before = ours(x, 500, *text).predicted_image_embedding
    for network in (stock, ours):
        for weight in network.parameters():
            weight.data.mul_(1.5)
    z_i = ours(x, 500, *text).predicted_image_embedding
    torch.testing.assert_close(z_i, stock(x, 500, *text).predicted_image_embedding, rtol=1e-9, atol=1e-9)
    assert (z_i - before).abs().max() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_the_steps_of_a_sampler_share_a_caption_and_two_runs_do_not(miniature, guidance, monkeypatch):
    prior = EmojiPrior(copy.deepcopy(miniature.prior.network), miniature.encoder)
    calls = []
    monkeypatch.setattr(CausalPrior, "_layers", lambda self, *inputs: calls.append(1) or LAYERS(self, *inputs))
    first = sample(prior, ["a cat"], seeds=[0, 1], steps=4, guidance=guidance)
    assert len(calls) == 1
    for weight in prior.network.transformer_blocks.parameters():
        weight.data.mul_(1.5)
    second = sample(prior, ["a cat"], seeds=[0, 1], steps=4, guidance=guidance)
    fresh = sample(
        EmojiPrior(copy.deepcopy(prior.network), prior.encoder), ["a cat"], seeds=[0, 1], steps=4, guidance=guidance
    )
    assert len(calls) == 3 and torch.equal(second, fresh) and not torch.allclose(first, second)


def test_with_gradients_the_causal_prior_is_the_stock_network():
    stock, ours = networks()
    for network in (stock, ours):
        network(
            noised(network, 2, 0), 500, *captions_of(network, [1, 2])
        ).predicted_image_embedding.square().sum().backward()
    for (name, a), b in zip(stock.named_parameters(), ours.parameters()):
        torch.testing.assert_close(b.grad, a.grad, msg=name)
