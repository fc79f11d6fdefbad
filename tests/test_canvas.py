"""Canvases: each begins at its picture, passes gradients of finite differences, and keeps its range."""

import itertools

import pytest
import torch

from latentlab import decoding
from latentlab.canvas import Decoded, FirstStage, Fourier, Pixels
from latentlab.latents import Latent
from latentlab.noise import draw_x_T
from latentlab.strokes import STYLES, Strokes

SIDE = 8
NAMES = ("pixels", "fourier", "latents", "x_T", "z_i", *STYLES)


@pytest.fixture
def pixels(rng):
    return torch.rand(2, 3, SIDE, SIDE, generator=rng) * 1.6 - 0.8


def canvas_of(name, lab, pixels):
    if name in STYLES:
        return Strokes.random(2, seeds=(0, 1), paper=torch.ones(1, 3, 1, 1), style=name)
    if name in ("x_T", "z_i"):
        z_i, x_T = lab.encoder.encode_image(pixels), draw_x_T(lab.decoder, range(2))
        return Decoded(lab.decoder, z_i * 0.5, x_T, free=name, steps=3)
    return (
        FirstStage(lab.decoder, pixels) if name == "latents" else {"pixels": Pixels, "fourier": Fourier}[name](pixels)
    )


@pytest.mark.parametrize("name", ["pixels", "fourier", "latents"])
def test_a_canvas_begins_at_its_picture(lab, pixels, name):
    torch.testing.assert_close(canvas_of(name, lab, pixels).render(SIDE), pixels, atol=1e-5, rtol=0)


@pytest.mark.parametrize("free", ["x_T", "z_i"])
def test_a_decoded_canvas_is_what_the_sampler_decodes(lab, pixels, free):
    canvas = canvas_of(free, lab, pixels)
    x_0 = decoding.decode(lab.decoder, Latent(canvas.z_i.detach(), canvas.x_T.detach()), steps=3)
    torch.testing.assert_close(canvas.render(SIDE), decoding.pictures(lab.decoder, x_0))


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_finite_differences(lab, pixels, name, rng):
    canvas = canvas_of(name, lab, pixels).double()
    if name == "fourier":
        assert canvas.spectrum.dtype == torch.float64
    weights = torch.randn(2, 3, SIDE, SIDE, generator=rng, dtype=torch.float64)
    params = [p for group in canvas.groups() for p in group["params"]]

    def value():
        return (canvas.render(SIDE) * weights).sum()

    gradients = torch.autograd.grad(value(), params)
    directions = [torch.randn(p.shape, generator=rng, dtype=torch.float64) for p in params]
    step, ends = 1e-6, []
    with torch.no_grad():
        for sign in (1, -2):
            for p, direction in zip(params, directions):
                p.add_(sign * step * direction)
            ends.append(value())
    wanted = (ends[0] - ends[1]).item() / (2 * step)
    inner = sum((g * d).sum().item() for g, d in zip(gradients, directions))
    assert inner == pytest.approx(wanted, rel=0.02, abs=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_however_long_leaves_a_picture_in_range(lab, pixels, name):
    canvas = canvas_of(name, lab, pixels)
    optimiser = torch.optim.SGD(canvas.groups())
    canvas.render(SIDE).sum().backward()
    for group in optimiser.param_groups:
        group["lr"] = 1e3
    optimiser.step()
    canvas.project()
    picture = canvas.render(SIDE)
    assert picture.isfinite().all() and (picture.abs() <= 1 + 1e-5).all()


def test_x_T_keeps_the_length_of_noise(lab, pixels):
    canvas = canvas_of("x_T", lab, pixels)
    with torch.no_grad():
        canvas.x_T.mul_(5)
    canvas.project()
    torch.testing.assert_close(canvas.x_T.square().mean((1, 2, 3)), torch.ones(2))


@pytest.mark.parametrize("name", NAMES)
def test_every_learning_rate_belongs_to_a_parameter_and_the_state_comes_back(lab, pixels, name):
    canvas = canvas_of(name, lab, pixels)
    free = {id(p) for p in canvas.parameters() if p.requires_grad}
    assert {id(p) for p in itertools.chain(*(g["params"] for g in canvas.groups()))} == free
    before, state = canvas.render(SIDE).detach(), {k: v.clone() for k, v in canvas.state_dict().items()}
    with torch.no_grad():
        for p in canvas.parameters():
            p.add_(0.3)
    canvas.load_state_dict(state)
    torch.testing.assert_close(canvas.render(SIDE), before)
