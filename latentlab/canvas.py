"""Canvases: differentiable pictures, whose parameters are optimised."""

from __future__ import annotations

import itertools
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .diffusion import Conditioning, Decoder, abar_at, ddim_step, levels
from .io import images

# Between decorrelated colours and RGB: the square root of the colours' covariance in photographs, as in Lucid
# (Olah et al. 2017, "Feature Visualization").
COLOURS = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
COLOURS = COLOURS / COLOURS.norm(dim=0).max()


class Canvas(Protocol):
    """A picture as a function of parameters, B of them at once."""

    def render(self, size: int) -> Tensor:
        """(B, 3, size, size) in [-1, 1], differentiable in the parameters."""

    def groups(self) -> list[dict[str, Any]]:
        """The parameters with their learning rates, as torch's optimisers take them."""

    def project(self) -> None:
        """Bring the parameters back into their ranges after a step."""

    def state_dict(self) -> dict[str, Any]:
        """The parameters by name; `load_state_dict` brings them back."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class Pixels(nn.Module):
    """Every pixel is a parameter.

    Args:
        pixels: (B, 3, H, W) in [-1, 1], where they begin.
    """

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()
        self.pixels = nn.Parameter(pixels.clone())

    def render(self, size: int) -> Tensor:
        return images.resize(self.pixels, size)

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.pixels], "lr": 0.05}]

    @torch.no_grad()
    def project(self) -> None:
        self.pixels.clamp_(-1, 1)


class Fourier(nn.Module):
    """Fourier coefficients of decorrelated colours, divided by their frequency: x = tanh(C · irfft2(s / f)).

    Natural pictures have spectra that fall like 1 / f, so that a step of Adam moves coarse and fine parts alike.
    Olah et al. 2017; Mordvintsev et al. 2018, "Differentiable Image Parameterizations".

    Args:
        pixels: (B, 3, H, W) in [-1, 1], where they begin.
    """

    scale: Tensor
    colours: Tensor

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()
        side = self.side = pixels.shape[-1]
        frequency = torch.fft.fftfreq(side)[:, None].square() + torch.fft.rfftfreq(side).square()
        self.register_buffer("scale", frequency.sqrt().clamp_min(1 / side).reciprocal().to(pixels))
        self.register_buffer("colours", COLOURS.to(pixels))
        hidden = torch.einsum("dc,bchw->bdhw", torch.linalg.inv(self.colours), pixels.clamp(-0.97, 0.97).atanh())
        self.spectrum = nn.Parameter(torch.view_as_real(torch.fft.rfft2(hidden, norm="ortho") / self.scale))

    def render(self, size: int) -> Tensor:
        spectrum = torch.view_as_complex(self.spectrum) * self.scale
        hidden = torch.fft.irfft2(spectrum, (self.side, self.side), norm="ortho")
        return images.resize(torch.einsum("cd,bdhw->bchw", self.colours, hidden).tanh(), size)

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.spectrum], "lr": 0.03}]

    def project(self) -> None:
        """Nothing: every coefficient is allowed."""


class FirstStage(nn.Module):
    """The latents of the decoder's first stage, as in VQGAN-CLIP (Crowson et al. 2022) without a codebook.

    Args:
        pixels: (B, 3, H, W) in [-1, 1], where they begin.
    """

    def __init__(self, decoder: Decoder, pixels: Tensor) -> None:
        super().__init__()
        self.decoder = decoder
        self.x_0 = nn.Parameter(decoder.to_x0(pixels).clone())

    def render(self, size: int) -> Tensor:
        return images.resize(self.decoder.to_pixels(self.x_0), size)

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.x_0], "lr": 0.08}]

    def project(self) -> None:
        """Nothing: every latent is allowed."""


class Decoded(nn.Module):
    """What the decoder makes of (z_i, x_T) in a few steps of DDIM; one of the two is the parameter.

    Args:
        z_i: (B, D). x_T: (B, C, H, W).
        free: "x_T" or "z_i", the one that moves.
        steps: of DDIM; the gradient goes through all of them, and each is evaluated again on the way back, so that
            memory holds one.
    """

    def __init__(self, decoder: Decoder, z_i: Tensor, x_T: Tensor, *, free: str, steps: int) -> None:
        super().__init__()
        self.decoder, self.free, self.steps = decoder, free, steps
        self.z_i = nn.Parameter(z_i.clone(), requires_grad=free == "z_i")
        self.x_T = nn.Parameter(x_T.clone(), requires_grad=free == "x_T")

    def render(self, size: int) -> Tensor:
        x_t: Tensor = self.x_T
        abar = self.decoder.abar
        for t, t_next in itertools.pairwise(levels(abar, self.steps)):
            eps = checkpoint(self._eps, x_t, t, self.z_i, use_reentrant=False)
            x_t = ddim_step(x_t, eps, abar_at(abar, t), abar_at(abar, t_next))
        return images.resize(self.decoder.to_pixels(x_t), size)

    def _eps(self, x_t: Tensor, t: int, z_i: Tensor) -> Tensor:
        return self.decoder.eps(x_t, t, Conditioning(z_i))

    def groups(self) -> list[dict[str, Any]]:
        if self.free == "x_T":
            return [{"params": [self.x_T], "lr": 0.1}]
        scale = self.z_i.detach().square().mean().sqrt().item()  # a z_i has the scale of its CLIP
        return [{"params": [self.z_i], "lr": 0.1 * scale}]

    @torch.no_grad()
    def project(self) -> None:
        """Keep the parameter's length, since the decoder knows noise and embeddings of one length only."""
        if self.free == "x_T":
            self.x_T.div_(self.x_T.square().mean((1, 2, 3), keepdim=True).sqrt())
