"""The toy's closed forms are true; the other tests compare with them."""

import itertools
import math

import pytest
import torch

from latentlab.captions import caption_warnings
from latentlab.decoding import decode
from latentlab.diffusion import Conditioning, abar_at, levels
from latentlab.errors import UserError
from latentlab.inversion import invert
from latentlab.latents import Latent
from latentlab.models.toy import SIDE, D, ToyDecoder

TIMES = [0, 300, 700, 980]


def rms(x):
    return x.square().mean().sqrt().item()


def halves(errors):
    """Whether each error is about half of the one before."""
    return all(1.7 < a / b < 2.3 for a, b in itertools.pairwise(errors))


def last(decoder):
    """The noisiest time, at which decoding starts."""
    return levels(decoder.abar, 1)[0]


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("spread", [0.1, 0.3, 2.0])
def test_eps_is_the_score_of_the_noised_gaussian(z_i, normal, t, spread):
    decoder = ToyDecoder(spread)
    a = abar_at(decoder.abar, t)
    x_t = normal(3, *decoder.shape).requires_grad_()
    noised = torch.distributions.Normal(math.sqrt(a) * decoder.mean(z_i), math.sqrt(a * spread**2 + 1 - a))
    (score,) = torch.autograd.grad(noised.log_prob(x_t).sum(), x_t)
    eps = decoder.eps(x_t.detach(), t, Conditioning(z_i))
    torch.testing.assert_close(eps, -math.sqrt(1 - a) * score, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("t", TIMES)
def test_the_null_condition_is_the_score_of_all_pictures_together(normal, t):
    decoder, pixels = ToyDecoder(0.3, colours=0.5), (SIDE // 2) ** 2
    a, x_t = abar_at(decoder.abar, t), normal(2, *decoder.shape)
    eps = decoder.eps(x_t, t, Conditioning(torch.zeros(2, D, dtype=torch.float64)))
    pictures = 0.3**2 * torch.eye(pixels) + 0.5**2 * torch.ones(pixels, pixels)  # of one quarter in one channel
    noised = (a * pictures + (1 - a) * torch.eye(pixels)).double()
    quarter = x_t[:, :, : SIDE // 2, : SIDE // 2].flatten(2)  # (2, 3, pixels)
    exact = math.sqrt(1 - a) * torch.linalg.solve(noised, quarter.mT).mT
    torch.testing.assert_close(eps[:, :, : SIDE // 2, : SIDE // 2].flatten(2), exact, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("t", TIMES)
def test_eps_is_the_expected_noise_given_x_t(z_i, normal, t):
    decoder, many = ToyDecoder(), 40_000
    a = abar_at(decoder.abar, t)
    z_i = z_i[:1].expand(many // 64, -1)
    x_0 = decoder.mean(z_i) + decoder.spread * normal(many // 64, *decoder.shape)
    eps = normal(*x_0.shape)
    error = eps - decoder.eps(math.sqrt(a) * x_0 + math.sqrt(1 - a) * eps, t, Conditioning(z_i))
    guess = decoder.eps(math.sqrt(a) * x_0 + math.sqrt(1 - a) * eps, t, Conditioning(z_i))
    assert abs((error * guess).mean()) < 5 / math.sqrt(error.numel())  # the error is orthogonal to the guess


def test_the_exact_path_starts_at_the_picture_and_is_standard_normal_at_its_end(lab, x_0, z_i):
    start = lab.decoder.exact_x_t(x_0, z_i, -1)
    end = lab.decoder.exact_x_t(x_0, z_i, len(lab.decoder.abar) - 1)
    torch.testing.assert_close(start, x_0, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(end, (x_0 - lab.decoder.mean(z_i)) / lab.decoder.spread, rtol=0, atol=1e-3)


@pytest.mark.parametrize("t", TIMES)
def test_the_exact_path_obeys_the_probability_flow_equation(x_0, z_i, t):
    # In x/√a, with u = √((1-a)/a), the flow is d(x/√a) = eps du (Song et al. 2021, equation 14).
    decoder = ToyDecoder(abar=torch.linspace(0.9999, 1e-3, 10**5, dtype=torch.float64))
    t, h = 100 * t + 1000, 1

    def point(t):
        a = abar_at(decoder.abar, t)
        return decoder.exact_x_t(x_0, z_i, t) / math.sqrt(a), math.sqrt((1 - a) / a)

    (before, u_before), (after, u_after) = point(t - h), point(t + h)
    eps = decoder.eps(decoder.exact_x_t(x_0, z_i, t), t, Conditioning(z_i))
    torch.testing.assert_close((after - before) / (u_after - u_before), eps, rtol=1e-3, atol=1e-3)


def test_decoding_the_exact_x_t_in_all_steps_gives_the_picture_back(lab, x_0, z_i):
    x_T = lab.decoder.exact_x_t(x_0, z_i, last(lab.decoder))
    assert rms(decode(lab.decoder, Latent(z_i, x_T), steps=last(lab.decoder) + 1) - x_0) < 2e-3


def test_decoding_error_halves_when_steps_double(lab, x_0, z_i):
    x_T = lab.decoder.exact_x_t(x_0, z_i, last(lab.decoder))
    errors = [rms(decode(lab.decoder, Latent(z_i, x_T), steps=n) - x_0) for n in (25, 50, 100, 200)]
    assert halves(errors)


@pytest.mark.parametrize("method", ["naive", "fixed-point"])
def test_inversion_error_against_the_exact_x_T_halves_when_steps_double(lab, x_0, z_i, method):
    x_T = lab.decoder.exact_x_t(x_0, z_i, last(lab.decoder))
    params = {} if method == "naive" else {"iterations": 30, "tolerance": 1e-9}
    inversions = [invert(lab.decoder, x_0, Conditioning(z_i), steps=n, method=method, **params) for n in (40, 80, 160)]
    assert halves([rms(inversion.latent.x_T - x_T) for inversion in inversions])


def test_the_null_conditioning_is_z_i_at_zero(lab, x_0, z_i):
    both = [lab.decoder.eps(x_0, 500, Conditioning(z)) for z in (z_i, torch.zeros_like(z_i))]
    guided = lab.decoder.eps(x_0, 500, Conditioning(z_i), guidance=3.0)
    torch.testing.assert_close(guided, both[1] + 3 * (both[0] - both[1]), rtol=1e-12, atol=1e-12)


def test_encoding_the_mean_picture_of_z_i_gives_z_i(lab, z_i):
    torch.testing.assert_close(lab.encoder.encode_image(lab.decoder.mean(z_i)), z_i)


def test_a_picture_of_any_size_can_be_encoded_and_resized_for_the_decoder(lab, normal):
    pixels = normal(2, 3, 13, 30).clamp(-1, 1)
    assert lab.encoder.encode_image(pixels).shape == (2, D)
    assert lab.decoder.to_x0(pixels).shape == (2, 3, SIDE, SIDE)


def test_a_caption_always_has_the_same_embedding_and_two_captions_have_different_ones(lab):
    a, b, again = lab.encoder.encode_text(["a cat", "a dog", "a cat"])
    assert torch.equal(a, again) and not torch.equal(a, b)


@pytest.mark.parametrize("templates", [("{}",), ("{}", "a picture of {}")])
def test_zero_shot_rows_are_probabilities(lab, normal, templates):
    rows = lab.encoder.zero_shot(normal(4, 3, 8, 8).float(), ["red", "green", "blue"], templates)
    assert rows.shape == (4, 3) and (rows > 0).all()
    torch.testing.assert_close(rows.sum(-1), torch.ones(4))


def test_an_empty_caption_is_refused(lab):
    with pytest.raises(UserError, match="the caption is empty"):
        lab.encoder.check_caption("  \n")
    assert caption_warnings([lab.encoder.check_caption("anything")]) == []
