"""Bézier strokes on paper: as pixels, as SVG, and as a canvas on which a gradient draws."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from PIL import ImageColor
from torch import Tensor, nn

from .errors import UserError
from .io import images
from .noise import SeededNoise
from .rasteriser import rasterise

STYLES = ("strokes", "shapes", "line")
KNOTS = 6  # points of a closed shape
WIDTHS = (0.012, 0.2)  # of a stroke, in fractions of the side


@dataclass(frozen=True, eq=False, repr=False)
class Paths:
    """Strokes of B pictures, in the order in which they are painted.

    Args:
        curves: (B, K, M, 4, 2), K strokes of M cubic Béziers each, x and y in fractions of the side, y downwards.
        widths: (B, K), in fractions of the side.
        colours: (B, K, 3) in [-1, 1].
        paper: (B or 1, 3, 1, 1) a colour, or (B or 1, 3, H, H) a picture, in [-1, 1].
        closed: whether the strokes are filled shapes.
    """

    curves: Tensor
    widths: Tensor
    colours: Tensor
    paper: Tensor
    closed: bool = False

    def __repr__(self) -> str:
        batch, count = self.widths.shape
        return f"Paths({batch} × {count} {'shapes' if self.closed else 'strokes'})"

    def __len__(self) -> int:
        return len(self.widths)

    def as_setting(self) -> str:
        return repr(self)

    def __getitem__(self, row: int) -> Paths:
        """One picture's strokes, still with a leading dimension of 1."""
        curves, widths, colours = (part[row : row + 1] for part in (self.curves, self.widths, self.colours))
        paper = self.paper[row : row + 1] if len(self.paper) > 1 else self.paper
        return Paths(curves, widths, colours, paper, self.closed)

    def render(self, size: int) -> Tensor:
        """The pictures, `rasteriser.rasterise`: (B, 3, size, size) in [-1, 1]."""
        paper = images.resize(self.paper, size) if self.paper.shape[-1] > 1 else self.paper
        return rasterise(self.curves, self.widths, self.colours, paper, size, closed=self.closed)

    def add(self, points: Sequence[Sequence[float]], *, width: float = 0.03, colour: str = "black") -> Paths:
        """The same pictures with one more stroke on top, drawn by hand.

        Args:
            points: two or more (x, y) of the pen, in fractions of the side; a stroke of M cubics is fitted to them.
            width: in fractions of the side.
            colour: a name as in CSS, or #rrggbb.

        Raises:
            UserError: fewer than two points, points that are no pairs of finite numbers, or an unknown colour.
        """
        curve = fitted(points, self.curves.shape[2]).to(self.curves).expand(len(self), 1, -1, -1, -1)
        widths = torch.full_like(self.widths[:, :1], min(max(width, WIDTHS[0]), WIDTHS[1]))
        colours = parsed_colours([colour]).to(self.colours).expand(len(self), -1, -1)
        return replace(
            self,
            curves=torch.cat([self.curves, curve], 1),
            widths=torch.cat([self.widths, widths], 1),
            colours=torch.cat([self.colours, colours], 1),
        )

    def svg(self, row: int = 0, size: int = 512) -> str:
        """One picture as an SVG of so many pixels; paper that is a picture is embedded as a PNG."""
        one = self[row]
        marks = [
            f'<path d="{_path(curve, self.closed)}" {_paint(colour, width, self.closed)}/>'
            for curve, width, colour in zip(one.curves[0].tolist(), one.widths[0].tolist(), one.colours[0])
        ]
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" width="{size}" height="{size}">'
        return "\n".join([head, _paper(one.paper), *marks, "</svg>"]) + "\n"


def _path(curve: list[list[list[float]]], closed: bool) -> str:
    pairs = [[f"{100 * x:.2f} {100 * y:.2f}" for x, y in cubic] for cubic in curve]
    return f"M{pairs[0][0]}" + "".join(f"C{a} {b} {c}" for _, a, b, c in pairs) + ("Z" if closed else "")


def _paint(colour: Tensor, width: float, closed: bool) -> str:
    fill = f'fill="{hexadecimal(colour)}" fill-rule="evenodd"' if closed else 'fill="none"'
    stroke = f'stroke="{hexadecimal(colour)}" stroke-width="{100 * width:.2f}"'
    return f'{fill} {stroke} stroke-linecap="round" stroke-linejoin="round"'


def _paper(paper: Tensor) -> str:
    if paper.shape[-1] == 1:
        return f'<rect width="100" height="100" fill="{hexadecimal(paper.flatten())}"/>'
    buffer = io.BytesIO()
    images.to_pil(paper)[0].save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<image width="100" height="100" href="data:image/png;base64,{data}"/>'


def hexadecimal(colour: Tensor) -> str:
    """A colour (3,) in [-1, 1] as #rrggbb."""
    return "#" + "".join(f"{round(v):02x}" for v in ((colour.clamp(-1, 1) + 1) * 127.5).tolist())


def parsed_colours(names: Sequence[str]) -> Tensor:
    """Colours by their names in CSS, or as #rrggbb: (N, 3) in [-1, 1].

    Raises:
        UserError: one of them is no colour.
    """
    rows = []
    for name in names:
        try:
            rows.append(ImageColor.getrgb(name)[:3])
        except ValueError as error:
            raise UserError(f"{name!r} is no colour: give a name as in CSS, like black, or #rrggbb") from error
    return torch.tensor(rows) / 127.5 - 1


def fitted(points: Sequence[Sequence[float]], cubics: int) -> Tensor:
    """A smooth curve of so many cubics through a pen's points, evenly by arc length: (cubics, 4, 2).

    Raises:
        UserError: fewer than two points, or points that are no pairs of finite numbers.
    """
    try:
        line = torch.tensor(points, dtype=torch.float32).view(len(points), 2)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"points are {str(points)[:60]}: give pairs of numbers, x and y") from error
    if len(line) < 2 or not line.isfinite().all():
        raise UserError(f"{len(line)} points: a stroke wants two or more, with finite x and y")
    lengths = torch.cat([torch.zeros(1), line.diff(dim=0).norm(dim=-1).clamp_min(1e-6).cumsum(0)])
    at = torch.linspace(0, lengths[-1].item(), 3 * cubics + 1)
    right = torch.searchsorted(lengths, at).clamp(1, len(line) - 1)
    share = ((at - lengths[right - 1]) / (lengths[right] - lengths[right - 1])).clamp(0, 1)[:, None]
    through = line[right - 1].lerp(line[right], share)  # (3 cubics + 1, 2), at thirds of each cubic
    a, p, q, d = (through[k : len(through) - 3 + k : 3] for k in range(4))
    b, c = (18 * p - 9 * q - 5 * a + 2 * d) / 6, (18 * q - 9 * p - 5 * d + 2 * a) / 6  # B(1/3) = p, B(2/3) = q
    return torch.stack([a, b, c, d], 1)


def catmull_rom(knots: Tensor, *, closed: bool) -> Tensor:
    """The smooth curve through knots as cubic Béziers: (..., N, 2) to (..., N or N - 1, 4, 2).

    The tangent at a knot is half of the way between its neighbours (Catmull and Rom 1974), the ends' being one-sided.
    """
    if closed:
        before, after = knots.roll(1, -2), knots.roll(-1, -2)
        ends, end_tangents = after, (after.roll(-1, -2) - knots) / 2
        starts, tangents = knots, (after - before) / 2
    else:
        inner = (knots[..., 2:, :] - knots[..., :-2, :]) / 2
        first, last = knots[..., 1:2, :] - knots[..., :1, :], knots[..., -1:, :] - knots[..., -2:-1, :]
        all_tangents = torch.cat([first, inner, last], -2)
        starts, ends = knots[..., :-1, :], knots[..., 1:, :]
        tangents, end_tangents = all_tangents[..., :-1, :], all_tangents[..., 1:, :]
    return torch.stack([starts, starts + tangents / 3, ends - end_tangents / 3, ends], -2)


class Strokes(nn.Module):
    """A canvas of K strokes: their points, widths and colours are the parameters.

    Args:
        style: "strokes" of one cubic each; "shapes", closed and filled, through `KNOTS` knots; or "line", one
            continuous line through 3 K + 1 knots.
        palette: (N, 3) in [-1, 1]; each stroke then takes the nearest of these colours, and the gradient goes straight
            through to the colour before (Bengio et al. 2013).
        paper: (B or 1, 3, H or 1, W or 1) in [-1, 1], under the strokes.
    """

    paper: Tensor
    palette: Tensor | None

    def __init__(
        self,
        points: Tensor,
        widths: Tensor,
        colours: Tensor,
        paper: Tensor,
        *,
        style: str = "strokes",
        palette: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.points, self.widths, self.colours = (nn.Parameter(part.clone()) for part in (points, widths, colours))
        self.register_buffer("paper", paper)
        self.register_buffer("palette", palette)
        self.style = style

    @classmethod
    def random(
        cls, count: int, *, seeds: Sequence[int], paper: Tensor, style: str = "strokes", palette: Tensor | None = None
    ) -> Strokes:
        """Strokes at random places around the middle, all of one grey, one picture for each seed.

        The more there are, the thinner strokes are and the smaller shapes, so that they cover about the same area.

        Raises:
            UserError: no strokes, or an unknown style.
        """
        if style not in STYLES:
            raise UserError(f"style is {style!r}: give one of {', '.join(STYLES)}")
        if count < 1:
            raise UserError(f"strokes is {count}: give at least 1, like 24")
        rows = 1 if style == "line" else count
        if style == "line":
            steps = SeededNoise(seeds, (1, 3 * count + 1, 2), stream="line")() * 0.11
            points = 0.5 + _reflected(steps.cumsum(2))
        else:
            knots = KNOTS if style == "shapes" else 4
            centres = torch.special.ndtr(SeededNoise(seeds, (count, 1, 2), stream="centres")()) * 0.4 + 0.3
            spread = SeededNoise(seeds, (count, knots, 2), stream="points")()
            radius = 0.12 * min(1.5, (12 / count) ** 0.25)
            points = centres + (_around(spread, radius) if style == "shapes" else spread * 0.12)
        width = {"strokes": min(WIDTHS[1], 0.4 / count**0.5), "shapes": WIDTHS[0], "line": 0.025}[style]
        widths, ink = points.new_full((len(points), rows), width), points.new_zeros(len(points), rows, 3)
        return cls(points, widths, ink, paper, style=style, palette=palette)

    def paths(self) -> Paths:
        """The strokes as they are now, for a renderer or another run."""
        if self.style == "strokes":
            curves = self.points[:, :, None]
        else:
            curves = catmull_rom(self.points, closed=self.style == "shapes")
        return Paths(curves, self.widths, self._inks(), self.paper, self.style == "shapes")

    def _inks(self) -> Tensor:
        if self.palette is None:
            return self.colours
        nearest = self.palette[torch.cdist(self.colours, self.palette.expand(len(self.colours), -1, -1)).argmin(-1)]
        return self.colours + (nearest - self.colours).detach()

    def render(self, size: int) -> Tensor:
        """(B, 3, size, size) in [-1, 1]."""
        return self.paths().render(size)

    def groups(self) -> list[dict]:
        """Parameters with their learning rates, three as in CLIPDraw (Frans et al. 2021, section 3)."""
        rates = {"points": 0.012, "widths": 0.002, "colours": 0.06}
        return [{"params": [getattr(self, name)], "lr": rate} for name, rate in rates.items()]

    @torch.no_grad()
    def project(self) -> None:
        """Bring widths and colours back into their ranges."""
        self.widths.clamp_(*WIDTHS)
        self.colours.clamp_(-1, 1)


def _reflected(x: Tensor) -> Tensor:
    """Values folded into [-0.42, 0.42], as by mirrors."""
    return ((x / 0.42 + 1) % 4 - 2).abs().sub(1).neg() * 0.42


def _around(noise: Tensor, radius: float) -> Tensor:
    """Offsets of knots around a centre, in their order along a circle of about that radius: (..., N, 2)."""
    turn = torch.arange(noise.shape[-2]) * (2 * torch.pi / noise.shape[-2])
    return radius * (1 + 0.3 * noise[..., :1]).clamp_min(0.3) * torch.stack([turn.cos(), turn.sin()], -1)
