"""The shapes that the public tensor functions take and return: signatures that jaxtyping and beartype check.

A letter is one size throughout a call: B samples, D the embedding's width, C x H x W the state, never square.
"""

# ruff: noqa: F722, F821, UP037 (a shape in quotes is no annotation of Python's)
from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from beartype import beartype
from jaxtyping import Bool, Float, Int, TypeCheckError, jaxtyped
from PIL import Image
from torch import Tensor

from latentlab import (
    autoregression,
    clip_guidance,
    decoding,
    diffusion,
    edits,
    exact_inversion,
    inpainting,
    inversion,
    noise,
    prior,
    rasteriser,
    slerp,
    strokes,
    upsampling,
)
from latentlab.analysis import covariance, distances, pca
from latentlab.diffusion import CLEAN, Conditioning
from latentlab.io import images
from latentlab.latents import Latent, PairLatent
from latentlab.models import gpt2
from latentlab.models.toy import ToyDecoder, ToyEncoder, ToyPrior

SIGNATURES = {}

One = Float[Tensor, "B"]
Z = Float[Tensor, "B D"]
X = Float[Tensor, "B C H W"]
Pixels = Float[Tensor, "B 3 H W"]
Square = Float[Tensor, "B 3 side side"]
Curves = Float[Tensor, "B K M 4 2"]


def signature_of(function):
    """Register a call of a library function whose annotations are checked."""

    def register(call):
        name = f"{function.__module__}.{function.__qualname__}"
        SIGNATURES[name] = jaxtyped(typechecker=beartype)(call)
        return SIGNATURES[name]

    return register


class Wide(ToyDecoder):
    """The toy with states that are not square."""

    shape = (3, 8, 12)

    def mean(self, z_i):
        return z_i.view(-1, 3, 2, 2).repeat_interleave(4, 2).repeat_interleave(6, 3)

    def to_pixels(self, x_0):
        return x_0


class Upsampler:
    abar, low, high, steps, max_batch_size = diffusion.cosine_abar(), 8, 16, 2, 2

    def eps(self, x_t, t, pixels):
        return x_t

    def to_pixels(self, x_0, pixels):
        return x_0.clamp(-1, 1)


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """What the calls take, by the name of their parameter."""
    photo = tmp_path_factory.mktemp("shapes") / "photo.png"
    Image.new("RGB", (14, 10)).save(photo)
    rng = torch.Generator().manual_seed(0)
    z = dict(zip(("z", "a", "b", "z_i", "z_t0", "z_t"), torch.randn(6, 3, 12, generator=rng)))
    x = dict(zip(("x", "x_0", "x_t", "eps", "noise"), torch.randn(5, 3, 3, 8, 12, generator=rng)))
    pixels = dict(zip(("pixels", "others"), torch.rand(2, 3, 3, 10, 14, generator=rng) * 2 - 1))
    small = torch.rand(3, 3, 8, 8, generator=rng) * 2 - 1
    real, generated = torch.randn(30, 12, generator=rng), torch.randn(20, 12, generator=rng)
    directions = pca.Directions.fit(real, 5)
    pen = {
        "curves": torch.rand(2, 4, 3, 4, 2, generator=rng),
        "knots": torch.rand(2, 5, 2, generator=rng),
        "widths": torch.rand(2, 4, generator=rng),
        "colours": torch.rand(2, 4, 3, generator=rng),
    }
    others = {**pen, "small": small, "real": real, "generated": generated, "directions": directions, "photo": photo}
    return {**z, **x, **pixels, **others}


# Noise levels and steps


@signature_of(diffusion.cosine_abar)
def cosine_abar() -> Float[Tensor, "1000"]:
    return diffusion.cosine_abar()


@signature_of(diffusion.ddim_step)
def ddim_step(x: X, eps: X, noise: X) -> X:
    eta = torch.linspace(0, 1, len(x)).view(-1, 1, 1, 1)
    return diffusion.ddim_step(x, eps, 0.3, 0.6, eta=eta, noise=noise)


@signature_of(diffusion.dpm_solver_step)
def dpm_solver_step(x: X, x_0: X) -> X:
    return diffusion.dpm_solver_step(x, x_0, 0.3, 0.6, (x_0 + 1, 0.2))


@signature_of(diffusion.evaluate)
def evaluate(x_t: X, z_i: Z) -> X:
    return diffusion.evaluate(Wide(), x_t, 500, Conditioning(z_i), 2.0)


@signature_of(clip_guidance.clip_guided)
def clip_guided(x_t: X, z_i: Z) -> X:
    clip = clip_guidance.ClipGuidance(ToyEncoder(torch.device("cpu")), z_i, 2.0)
    return clip_guidance.clip_guided(Wide(), x_t, 500, Conditioning(z_i), 1.0, clip)


@signature_of(diffusion.to_eps)
def to_eps(x_0: X, x_t: X) -> X:
    return diffusion.to_eps(x_0, x_t, 0.5, "v")


@signature_of(diffusion.guided)
def guided(x_t: X, z_i: Z) -> X:
    return diffusion.guided(lambda x, cond: 2 * x, x_t, Conditioning(z_i), Conditioning(z_i), 2.0)


@signature_of(noise.draw_x_T)
def draw_x_T() -> Float[Tensor, "4 3 8 12"]:
    return noise.draw_x_T(Wide(), range(4))


# Directions and edits


@signature_of(slerp.normalize)
def normalize(z: Z) -> Z:
    return slerp.normalize(z)


@signature_of(slerp.angle)
def angle(a: Z, b: Z) -> One:
    return slerp.angle(a, b)


@signature_of(slerp.slerp)
def slerp_rows(a: Z, b: Z) -> Z:
    return slerp.slerp(a, b, torch.linspace(0, 1, len(a))[:, None])


@signature_of(edits.interpolate)
def interpolate(z_i: Z, x_t: X) -> tuple[Float[Tensor, "5 D"], Float[Tensor, "5 C H W"]]:
    latent = Latent(z_i, x_t)
    path = edits.interpolate(latent[0], latent[1], torch.linspace(0, 1, 5))
    return path.z_i, path.x_T


@signature_of(edits.move)
def move(directions: pca.Directions, z: Z) -> Float[Tensor, "1 D"]:
    return edits.move(z[:1], [(directions, 0, 1.0), (directions, 1, -2.0)])


@signature_of(edits.text_diff)
def text_diff(z_i: Z, x_t: X, z_t0: Z, z_t: Z) -> tuple[Float[Tensor, "2*B D"], Float[Tensor, "2*B C H W"]]:
    edited = edits.text_diff(Latent(z_i, x_t), z_t0, z_t, [0.1, 0.3])
    return edited.z_i, edited.x_T


@signature_of(edits.direction)
def direction(z_t0: Z, z_t: Z) -> Z:
    return edits.direction(z_t0, z_t)


@signature_of(edits.fractions)
def fractions() -> Float[Tensor, "4"]:
    return edits.fractions([0, 0.1, 0.2, 1])


@signature_of(Latent.stack)
def stack(z_i: Z, x_t: X) -> tuple[Float[Tensor, "B+1 D"], Float[Tensor, "B+1 C H W"]]:
    latent = Latent(z_i, x_t)
    both = Latent.stack([latent, latent[-1]])
    return both.z_i, both.x_T


# Sampling and inversion


@signature_of(decoding.sample_steps)
def sample_steps(z_i: Z, x_t: X) -> list[tuple[X, X]]:
    return [(step.x_t, step.x_0) for step in decoding.sample_steps(Wide(), Latent(z_i, x_t), steps=2)]


@signature_of(decoding.decode)
def decode(z_i: Z, x_t: X) -> X:
    return decoding.decode(Wide(), Latent(z_i, x_t), steps=2, guidance=2.0, eta=0.5, seeds=range(len(z_i)))


@signature_of(decoding.pictures)
def pictures(x_0: X) -> Pixels:
    return decoding.pictures(Wide(), x_0)


@signature_of(inversion.invert)
def invert(x_0: X, z_i: Z) -> tuple[Z, X, Float[Tensor, "B 4"], Int[Tensor, "B"], Bool[Tensor, "B"]]:
    inverted = inversion.invert(Wide(), x_0, Conditioning(z_i), steps=4)
    return inverted.latent.z_i, inverted.latent.x_T, inverted.residuals, inverted.spent, inverted.converged


@signature_of(inversion.invert_steps)
def invert_steps(x_0: X, z_i: Z) -> list[X]:
    return [so_far.latent.x_T for _, _, so_far in inversion.invert_steps(Wide(), x_0, Conditioning(z_i), steps=2)]


@signature_of(inversion.solve)
def solve(x: X) -> tuple[X, One, Int[Tensor, "B"]]:
    return inversion.solve(lambda x, rows: x.cos(), x, iterations=5, memory=2, tolerance=1e-3)


@signature_of(exact_inversion.bdia_step)
def bdia_step(x: X, x_0: X, eps: X) -> X:
    return exact_inversion.bdia_step(x_0, x, eps, [0.3, 0.4, 0.5], 0.9)


@signature_of(exact_inversion.edict_mix)
def edict_mix(x: X, x_0: X) -> tuple[X, X]:
    return exact_inversion.edict_mix(x, x_0, 0.9)


@signature_of(exact_inversion.edict_part)
def edict_part(x: X, x_0: X) -> tuple[X, X]:
    return exact_inversion.edict_part(x, x_0, 0.9)


@signature_of(exact_inversion.ascend)
def ascend(x_0: X, z_i: Z) -> list[tuple[X, X]]:
    pairs = exact_inversion.ascend(Wide(), x_0, Conditioning(z_i), [900, 400, CLEAN], method="edict")
    return [(pair.first, pair.second) for pair, _ in pairs]


@signature_of(exact_inversion.descend)
def descend(x: X, x_0: X, z_i: Z) -> list[tuple[X, X]]:
    pair = PairLatent(z_i, x, x_0, "edict", (900, 400, CLEAN), 0.9)
    return [states[2:4] for states in exact_inversion.descend(Wide(), pair, Conditioning(z_i))]


@signature_of(prior.sample)
def sample() -> Float[Tensor, "4 12"]:
    toy = ToyPrior(ToyEncoder(torch.device("cpu")))
    return prior.sample(toy, ["a cat"], seeds=range(4), steps=2, candidates=3)


@signature_of(upsampling.upsample)
def upsample(small: Square) -> Float[Tensor, "B 3 2*side 2*side"]:
    return upsampling.upsample(Upsampler(), small, seeds=range(len(small)))


# Inpainting

RIGHT = (torch.arange(14) > 8).expand(1, 1, 10, 14)  # of the pictures


@signature_of(inpainting.on_grid)
def on_grid(pixels: Pixels) -> Bool[Tensor, "1 1 8 12"]:
    return inpainting.on_grid(RIGHT, Wide())


@signature_of(inpainting.continued)
def continued(pixels: Pixels) -> Pixels:
    return inpainting.continued(pixels, RIGHT)


@signature_of(inpainting.composed)
def composed(pixels: Pixels, others: Pixels) -> Pixels:
    return inpainting.composed(pixels, others[:1], RIGHT, reach=2)


@signature_of(inpainting.seam)
def seam(pixels: Pixels) -> One:
    return inpainting.seam(pixels, RIGHT)


# Pictures


@signature_of(images.to_tensor)
def to_tensor() -> Float[Tensor, "2 3 10 14"]:
    return images.to_tensor(Image.new("RGB", (14, 10)), Image.new("L", (14, 10)))


@signature_of(images.load)
def load(photo: Path) -> Float[Tensor, "1 3 9 9"]:
    return images.load(photo, 9)


@signature_of(images.resize)
def resize(pixels: Pixels) -> Float[Tensor, "B 3 9 9"]:
    return images.resize(pixels, 9)


@signature_of(images.psnr)
def psnr(pixels: Pixels, others: Pixels) -> One:
    return images.psnr(pixels, others)


@signature_of(images.ssim)
def ssim(pixels: Pixels, others: Pixels) -> One:
    return images.ssim(pixels, others)


@signature_of(images.cielab)
def cielab(pixels: Pixels) -> Pixels:
    return images.cielab(pixels)


# Analysis


@signature_of(covariance.rows)
def rows(z: Z) -> Z:
    return covariance.rows(z)


@signature_of(covariance.Moments.of)
def moments(z: Z) -> tuple[Float[Tensor, "D"], Float[Tensor, "D D"]]:
    moments = covariance.Moments.of(z)
    return moments.mean, moments.scatter


@signature_of(pca.Directions.fit)
def fit(z: Z) -> tuple[Float[Tensor, "D"], Float[Tensor, "2 D"], Float[Tensor, "2"]]:
    directions = pca.Directions.fit(z, 2)
    return directions.mean, directions.components, directions.variance


@signature_of(pca.Directions.project)
def project(directions: pca.Directions, z: Z) -> Float[Tensor, "B 5"]:
    return directions.project(z)


@signature_of(pca.Directions.reconstruct)
def reconstruct(directions: pca.Directions, z: Z) -> Z:
    return directions.reconstruct(z, 2)


@signature_of(pca.Directions.traverse)
def traverse(directions: pca.Directions, z: Z) -> Float[Tensor, "4 D"]:
    return directions.traverse(z[:1], 1, [-1, 0, 1, 2])


@signature_of(distances.recalled)
def recalled(real: Float[Tensor, "N D"], generated: Float[Tensor, "M D"]) -> Bool[Tensor, "N"]:
    return distances.recalled(real, generated)


# Tokens


@signature_of(autoregression.guided_logits)
def guided_logits(z_i: Z, z_t: Z) -> Z:
    return autoregression.guided_logits(z_i, z_t, 2.0)


@signature_of(autoregression.choose)
def choose(z_i: Z) -> Int[Tensor, "B"]:
    return autoregression.choose(z_i, torch.zeros(len(z_i)))


@signature_of(autoregression.next_token)
def next_token(z_i: Z) -> Int[Tensor, "B"]:
    return autoregression.next_token(torch.cat([z_i, z_i]), torch.zeros(len(z_i)), guidance=2.0)


@signature_of(autoregression.uniform_numbers)
def uniform_numbers(z_i: Z) -> Float[Tensor, "B 7"]:
    return autoregression.uniform_numbers(range(len(z_i)), 7)


@signature_of(autoregression.sample_steps)
def tokens(z_i: Z) -> list[Int[Tensor, "B _"]]:
    tiny = gpt2.build(vocabulary=9, positions=5, width=8, layers=1, heads=1)
    prefix = torch.zeros(len(z_i), 2, 8)
    return list(autoregression.sample_steps(tiny, prefix, [range(9)] * 3, seeds=range(len(z_i))))


# Strokes


@signature_of(rasteriser.rasterise)
def rasterise(
    curves: Curves, widths: Float[Tensor, "B K"], colours: Float[Tensor, "B K 3"]
) -> Float[Tensor, "B 3 9 9"]:
    return rasteriser.rasterise(curves, widths, colours, torch.ones(1, 3, 1, 1), 9)


@signature_of(rasteriser.pieces)
def pieces(curves: Curves) -> tuple[Float[Tensor, "B K V 2"], Float[Tensor, "B K V 2"]]:
    return tuple(rasteriser.pieces(curves))


@signature_of(rasteriser.coverage)
def coverage(curves: Curves, widths: Float[Tensor, "B K"]) -> Float[Tensor, "4 5"]:
    row, pixels = torch.tensor([0, 1, 1, 0]), 9 * torch.rand(4, 5, 2)
    return rasteriser.coverage(rasteriser.pieces(curves * 9), widths * 9, row, pixels, closed=True)


@signature_of(rasteriser.inside)
def inside(curves: Curves) -> Bool[Tensor, "B 5"]:
    chains = rasteriser.Chains(*(part[:, 0] for part in rasteriser.pieces(curves)))
    return rasteriser.inside(chains, torch.rand(len(curves), 5, 2))


@signature_of(rasteriser.touches)
def touches(curves: Curves, widths: Float[Tensor, "B K"]) -> Bool[Tensor, "B K 7"]:
    return rasteriser.touches(rasteriser.pieces(curves * 9), widths * 9, 9 * torch.rand(7, 64, 2), closed=True)


@signature_of(strokes.catmull_rom)
def catmull_rom(knots: Float[Tensor, "B N 2"]) -> tuple[Float[Tensor, "B N 4 2"], Float[Tensor, "B N-1 4 2"]]:
    return strokes.catmull_rom(knots, closed=True), strokes.catmull_rom(knots, closed=False)


@signature_of(strokes.fitted)
def fitted() -> Float[Tensor, "3 4 2"]:
    return strokes.fitted([(0, 0), (0.4, 0.2), (1, 0.5)], 3)


@signature_of(strokes.parsed_colours)
def parsed_colours() -> Float[Tensor, "2 3"]:
    return strokes.parsed_colours(["red", "#00ff00"])


MODULES = (
    autoregression,
    diffusion,
    slerp,
    edits,
    decoding,
    inversion,
    exact_inversion,
    inpainting,
    noise,
    prior,
    upsampling,
    images,
    covariance,
    distances,
    pca,
    rasteriser,
    strokes,
)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_function_keeps_its_signature(name, arguments):
    call = SIGNATURES[name]
    call(**{parameter: arguments[parameter] for parameter in inspect.signature(call).parameters})


@pytest.mark.parametrize("wrong", [lambda x: x[:-1], lambda x: x.transpose(2, 3), lambda x: x.flatten(2)])
def test_a_lost_row_swapped_sides_or_a_lost_dimension_break_a_signature(wrong, arguments, monkeypatch):
    right = diffusion.to_eps
    monkeypatch.setattr(diffusion, "to_eps", lambda *args: wrong(right(*args)))
    with pytest.raises(TypeCheckError):
        to_eps(arguments["x_0"], arguments["x_t"])


def test_every_public_function_that_returns_tensors_has_a_signature():
    tensors = {
        f"{module.__name__}.{name}"
        for module in MODULES
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
        if "Tensor" in str(inspect.signature(function).return_annotation)
    }
    assert tensors <= SIGNATURES.keys()
