"""The history of edits: pictures, each painted from an earlier one, in one JSON file and one animation."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from .. import __version__
from ..errors import UserError
from ..io import images
from ..io.atomic import atomic_write, utf8

if TYPE_CHECKING:
    from ..plotting import Figure

KIND = "history of edits"
LARGEST_SIDE = 4096  # pixels of a picture in a file


@dataclass(frozen=True, eq=False)
class State:
    """A picture of a history.

    Args:
        pixels: (1, 3, H, W) in [-1, 1].
        parent: the number of the state that it was painted from; None for the first.
        mask: (H, W), True where it was painted; None for the first.
        place: the row and the column at which the parent's picture lies in this one, in pixels.
        settings: those of the edit with the state's own seed; empty for the first.
    """

    pixels: Tensor
    parent: int | None = None
    mask: Tensor | None = None
    place: tuple[int, int] = (0, 0)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the edit was, in a few words."""
        if self.parent is None:
            return "the picture"
        sides = self.settings.get("grow") or ()
        grown = f"grown {', '.join((sides,) if isinstance(sides, str) else sides)}" if sides else ""
        prompt = self.settings.get("prompt") or ("" if grown else "without a prompt")
        return ": ".join(part for part in (grown, prompt) if part)


@dataclass(frozen=True, repr=False, eq=False)
class History:
    """Edits one after another.  Give it to `edit` as the picture, and the edit starts from its current state.

    No state is ever lost: an edit after `undo` adds a branch.

    Args:
        states: in the order in which they were painted, the first picture first.
        position: the number of the current state.
        side: of the square windows in which these pictures are painted, in pixels.
    """

    states: tuple[State, ...]
    position: int
    side: int

    @property
    def pixels(self) -> Tensor:
        """The current picture: (1, 3, H, W)."""
        return self.states[self.position].pixels

    def add(self, state: State) -> History:
        """The history with one more state, which becomes the current one."""
        return replace(self, states=(*self.states, state), position=len(self.states)).rounded()

    def rounded(self) -> History:
        """The history with its pictures rounded to the 256 levels that a file holds."""
        states = (replace(state, pixels=images.to_tensor(*images.to_pil(state.pixels))) for state in self.states)
        return replace(self, states=tuple(states))

    def at(self, position: int) -> History:
        """The history with another current state.

        Raises:
            UserError: there is no state of that number.
        """
        if not 0 <= position < len(self.states):
            raise UserError(f"there is no state {position}: the history has the states 0 to {len(self.states) - 1}")
        return replace(self, position=position)

    def undo(self) -> History:
        """The history at the state that the current one was painted from; the first state stays."""
        parent = self.states[self.position].parent
        return self if parent is None else self.at(parent)

    def redo(self) -> History:
        """The history at the last state that was painted from the current one; a state without any stays."""
        children = [k for k, state in enumerate(self.states) if state.parent == self.position]
        return self.at(children[-1]) if children else self

    def path(self) -> list[int]:
        """The numbers of the states from the first to the current one."""
        numbers = [self.position]
        while (parent := self.states[numbers[0]].parent) is not None:
            numbers.insert(0, parent)
        return numbers

    def as_setting(self) -> dict[str, Any]:
        """What a result's settings hold of it: the number of the state that was edited, and its picture's checksum."""
        checksum = hashlib.sha256(images.to_pil(self.pixels)[0].tobytes()).hexdigest()[:12]
        return {"state": self.position, "checksum": checksum}

    def figure(self) -> Figure:
        """The pictures on the way to the current one, each with what was painted pale in its parent."""
        from ..plotting import grid

        frames = torch.cat([frame for frame, _ in self._frames()])
        titles = [textwrap.fill(title, 22) for _, title in self._frames()]
        return grid(frames, titles=titles, columns=min(len(frames), 5))

    def _frames(self) -> Iterator[tuple[Tensor, str]]:
        """The pictures on the way to the current one on its whole canvas, before each edit what it paints, pale."""
        numbers = self.path()
        height, width = self.pixels.shape[-2:]
        top, left = (sum(self.states[k].place[axis] for k in numbers) for axis in (0, 1))
        shown = torch.ones(1, 3, height, width)
        for k in numbers:
            state = self.states[k]
            top, left = top - state.place[0], left - state.place[1]
            around = (left, width - left - state.pixels.shape[-1], top, height - top - state.pixels.shape[-2])
            if state.mask is not None:
                yield torch.where(F.pad(state.mask, around), 0.35 * shown + 0.3, shown), "to be painted: pale"
            shown = F.pad(state.pixels, around, value=1.0)
            yield shown, state.title

    def save_animation(self, path: str | Path, *, milliseconds: int = 900) -> Path:
        """The way to the current state as a GIF or WebP without end; what is painted next is shown pale.

        Raises:
            UserError: another suffix than .gif or .webp.
        """
        frames = images.to_pil(torch.cat([frame for frame, _ in self._frames()]))
        return images.save_animation(frames, path, milliseconds=milliseconds)

    def save(self, path: str | Path) -> Path:
        """Write everything, pictures and masks included, as one JSON file."""
        with atomic_write(path) as part:
            part.write_text(utf8(json.dumps(self.as_json(), ensure_ascii=False, indent=1)), "utf-8")
        return Path(path)

    def as_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads; pictures and masks are PNGs in base64."""
        states = []
        for state in self.states:
            mask = None if state.mask is None else _png(Image.fromarray(state.mask.cpu().numpy()))
            states.append(
                {
                    "parent": state.parent,
                    "picture": _png(images.to_pil(state.pixels)[0]),
                    "mask": mask,
                    "place": list(state.place),
                    "settings": state.settings,
                }
            )
        return {
            "kind": KIND,
            "latentlab": __version__,
            "side": self.side,
            "position": self.position,
            "states": states,
        }

    @staticmethod
    def load(path: str | Path) -> History:
        """Read what `save` has written.

        Raises:
            UserError: the file is missing, or holds no history.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path} is not there: give the JSON file of a history, as `latentlab edit` writes it")
        try:
            return History.from_json(json.loads(path.read_text("utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError, binascii.Error, OSError) as error:
            raise UserError(
                f"{path.name} is no history of edits ({error}): give the JSON file that `latentlab edit` or the page "
                "Edit has written"
            ) from error

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> History:
        """The history that `as_json` describes.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: the values describe none.
        """
        if values["kind"] != KIND:
            raise ValueError(f"its kind is {values['kind']!r}")
        states = [_state(k, state) for k, state in enumerate(values["states"])]
        side, position = int(values["side"]), int(values["position"])
        if not 0 <= position < len(states) or side < 2:
            raise ValueError(f"its state {position} is not among its {len(states)}, or its windows have side {side}")
        for state in states[1:]:
            assert state.parent is not None
            parent = states[state.parent].pixels.shape[-2:]
            fits = all(p >= 0 and p + a <= b for p, a, b in zip(state.place, parent, state.pixels.shape[-2:]))
            if not fits or state.mask is None or state.mask.shape != state.pixels.shape[-2:]:
                raise ValueError("the sizes of its pictures and masks do not fit")
        return History(tuple(states), position, side)

    def __repr__(self) -> str:
        return f"History({len(self.states)} states, at {self.position}: {self.states[self.position].title})"


def _state(number: int, values: Mapping[str, Any]) -> State:
    parent, mask = values["parent"], values["mask"]
    if (parent is None) != (number == 0) or not (parent is None or parent in range(number)):
        raise ValueError(f"its state {number} has the parent {parent}")
    top, left = (int(x) for x in values["place"])
    settings = dict(values["settings"])
    read_mask = None if mask is None else torch.from_numpy(np.array(_read(mask).convert("L")) > 127)
    return State(images.to_tensor(_read(values["picture"])), parent, read_mask, (top, left), settings)


def _png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def _read(text: str) -> Image.Image:
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as file:
            if max(file.size) > LARGEST_SIDE:
                raise ValueError(f"one of its pictures is {file.size[0]}x{file.size[1]}")
            return file.copy()
    except (UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("one of its pictures is no PNG") from error
