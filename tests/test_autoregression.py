"""Sampling from a causal transformer, on tiny random networks."""

import pytest
import torch

from latentlab.autoregression import choose, guided_logits, sample_steps
from latentlab.errors import UserError
from latentlab.models import gpt2

PREFIX, COUNT, CODES = 5, 6, 11
CHOICES = [range(7, 7 + CODES)] * COUNT


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    tiny = gpt2.build(vocabulary=7 + CODES, positions=PREFIX + COUNT, width=16, layers=2, heads=2).eval()
    for weight in tiny.parameters():
        weight.data *= 5  # GPT-2's initial weights make all tokens equally likely
    return tiny.requires_grad_(False)


@pytest.fixture(scope="module")
def prefix():
    return torch.randn(3, PREFIX, 16, generator=torch.Generator().manual_seed(1))


def sampled(network, prefix, **options):
    options = {"seeds": range(len(prefix)), **options}
    return list(sample_steps(network, prefix, CHOICES, **options))[-1]


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_the_cache_changes_no_token(network, prefix, guidance):
    options = {"guidance": guidance, "null": torch.zeros_like(prefix)}
    assert sampled(network, prefix, **options).equal(sampled(network, prefix, cached=False, **options))


def test_tokens_do_not_depend_on_later_ones(network, prefix):
    ids = torch.randint(0, 7 + CODES, (2, 9), generator=torch.Generator().manual_seed(2))
    changed = ids.clone()
    changed[:, 6:] = (ids[:, 6:] + 1) % 7
    before, after = (network(input_ids=x).logits for x in (ids, changed))
    assert torch.allclose(before[:, :6], after[:, :6], atol=1e-5)
    assert not torch.allclose(before[:, 6:], after[:, 6:], atol=1e-3)


def test_guidance_one_ignores_the_prefix_without_its_condition(network, prefix):
    assert sampled(network, prefix, null=torch.randn_like(prefix)).equal(sampled(network, prefix))


def test_guidance_zero_ignores_the_condition(network, prefix):
    null = torch.ones_like(prefix)
    assert sampled(network, prefix, null=null, guidance=0.0).equal(sampled(network, null))


def test_guidance_of_the_logits_is_linear_in_the_scale():
    conditional, null = torch.randn(2, 4, 9).unbind()
    middle = (guided_logits(conditional, null, 1.0) + guided_logits(conditional, null, 3.0)) / 2
    assert torch.allclose(guided_logits(conditional, null, 2.0), middle, atol=1e-6)


def test_a_sample_is_the_same_alone_and_in_any_batch(network, prefix):
    together = sampled(network, prefix, seeds=[4, 8, 6])
    for k, seed in enumerate((4, 8, 6)):
        assert sampled(network, prefix[k : k + 1], seeds=[seed]).equal(together[k : k + 1])


def test_other_seeds_choose_other_tokens(network, prefix):
    assert not sampled(network, prefix).equal(sampled(network, prefix, seeds=[7, 8, 9]))


def test_top_k_of_one_takes_the_likeliest_token_whatever_the_seed(network, prefix):
    best = sampled(network, prefix, top_k=1)
    assert best.equal(sampled(network, prefix, top_k=1, seeds=[5, 6, 7]))
    cold = sampled(network, prefix, temperature=1e-6)
    assert best.equal(cold)


def test_chosen_tokens_have_the_probabilities_of_the_logits():
    logits = torch.tensor([[0.0, 1.0, -torch.inf, 2.0]])
    uniform = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    counts = choose(logits.expand(20_000, -1), uniform, temperature=2.0).bincount(minlength=4) / 20_000
    assert torch.allclose(counts, (logits[0] / 2).softmax(0), atol=1e-3)


def test_top_k_leaves_out_all_but_the_likeliest():
    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(3)).expand(4000, -1)
    drawn = choose(logits, torch.rand(4000, generator=torch.Generator().manual_seed(4)), top_k=3)
    assert set(drawn.tolist()) == set(logits[0].topk(3).indices.tolist())


def test_given_first_tokens_are_kept_and_continued(network, prefix):
    whole = sampled(network, prefix)
    steps = list(sample_steps(network, prefix, CHOICES, seeds=range(3), begin=whole[:, :4]))
    assert steps[0].equal(whole[:, :4])
    assert steps[-1].equal(whole)
    assert [step.shape[1] for step in steps] == [4, 5, 6]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"temperature": 0.0}, "temperature is 0.0: give a positive number"),
        ({"top_k": 0}, "top_k is 0: give at least 1"),
        ({"guidance": -1.0}, "guidance is -1.0"),
        ({"begin": torch.full((3, 2), CODES)}, f"token 0 is {CODES}, and there are {CODES}"),
        ({"begin": torch.zeros(3, COUNT + 1)}, r"the first tokens are \(3, 7\)"),
        ({"seeds": []}, "give one integer"),
    ],
)
def test_values_out_of_their_range_are_refused(network, prefix, options, message):
    with pytest.raises(UserError, match=message):
        sampled(network, prefix, **options)


def test_a_transformer_survives_its_file(network, tmp_path, prefix):
    gpt2.save_half(network, tmp_path)
    again = gpt2.load(tmp_path, retrain="make")
    half = network.lm_head.weight.half().float()
    assert again.lm_head.weight.equal(half) and again.get_input_embeddings().weight.equal(half)


def test_a_folder_of_another_network_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="of the type 'bert', wanted 'gpt2': `make` writes it anew"):
        gpt2.load(tmp_path, retrain="make")
