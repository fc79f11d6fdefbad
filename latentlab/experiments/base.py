"""What an experiment is: a declared function that can be run or streamed, its progress, and its frozen result."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, ParamSpec, TypeVar

from torch import Tensor

from .. import __version__
from ..errors import UserError

if TYPE_CHECKING:
    from ..models import Lab
    from ..plotting import Figure

P = ParamSpec("P")
R = TypeVar("R")


class Progress(NamedTuple):
    """Where an experiment is: `step` of `steps` in a stage, and its first pictures as they look by now, if any."""

    stage: str
    step: int
    steps: int
    pixels: Tensor | None = None  # (B, 3, H, W)


@dataclass(frozen=True, repr=False, kw_only=True)
class Result:
    """The outcome of an experiment; each experiment adds its own pictures.

    Args:
        table: tidy rows, one a measured quantity at one place of the sweep: the place's coordinates, `quantity`,
            `value`, `n`, and `low`, `high` of the 95% interval (None where n is 1).
        settings: everything that is needed to do it again.
        notes: what the model could not see or do.
    """

    table: tuple[dict, ...] = ()
    settings: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def figure(self) -> Figure:
        """The experiment as one picture to look at."""
        raise NotImplementedError

    def summary(self) -> str:
        """What there is to see, in a sentence or two, with the numbers."""
        raise NotImplementedError

    def value(self, quantity: str, **where: object) -> float:
        """The one value in the table of that quantity, at that place."""
        wanted = {"quantity": quantity, **where}
        values = [row["value"] for row in self.table if all(row.get(k) == v for k, v in wanted.items())]
        if len(values) != 1:
            quantities = ", ".join(dict.fromkeys(row["quantity"] for row in self.table))
            raise UserError(f"{len(values)} rows have {wanted}: name one place; the quantities are {quantities}")
        return values[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.summary()}"

    def _repr_png_(self) -> bytes:
        return self.figure()._repr_png_()


class Experiment(Generic[P, R]):
    """One experiment: call it to run it to its end, or watch it with `stream`.

    It carries all that the command line, the pages and the paper's figures need to know of it.

    Args:
        function: the generator of Progress whose last value is the result.
        result: the type of that value.
        page: the key of the page that shows it; "" where none does.
        task: what that page calls it, where the page has several experiments to choose from.
        command: the words of its command line; "" where it has none.
        figure: its key in `latentlab figures`; "" where it is in none.
        subject: what its first parameter is, a whole lab or an encoder alone.
        stages: the names of the stages that its Progress reports.
        images: how many pictures a run decodes, from the arguments by name; at most, where it depends on the model.
    """

    def __init__(
        self,
        function: Callable[P, Iterator[Progress | R]],
        result: type[R],
        *,
        page: str,
        task: str,
        command: str,
        figure: str,
        subject: Literal["lab", "encoder"],
        stages: tuple[str, ...],
        images: Callable[[dict[str, Any]], int],
    ):
        self.function, self.result = function, result
        self.page, self.task, self.command, self.figure = page, task, command, figure
        self.subject, self.stages, self._images = subject, stages, images
        self.name = self.__name__ = function.__name__
        self.__doc__, self.__module__, self.__wrapped__ = function.__doc__, function.__module__, function
        self.signature = inspect.signature(function)
        self.__signature__ = self.signature.replace(return_annotation=result.__name__)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the experiment to its end and return its result."""
        for value in self.stream(*args, **kwargs):
            last = value
        return last  # type: ignore[return-value]

    def stream(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[Progress | R]:
        """Yield Progress on the way, with previews, and the result last."""
        arguments = self.arguments(*args, **kwargs)
        for value in self.function(*args, **kwargs):
            if isinstance(value, Result):
                value = replace(value, settings={**settings_of_arguments(arguments), **value.settings})
            yield value

    def arguments(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        """All parameters of a call by name, defaults included."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def count_images(self, *args: P.args, **kwargs: P.kwargs) -> int:
        """How many pictures a run with these arguments decodes."""
        return self._images(self.arguments(*args, **kwargs))

    def __repr__(self) -> str:
        return f"<experiment {self.name}>"


def experiment(
    result: type[R],
    *,
    page: str,
    task: str = "",
    command: str,
    figure: str = "",
    subject: Literal["lab", "encoder"] = "lab",
    stages: tuple[str, ...],
    images: Callable[[dict[str, Any]], int],
) -> Callable[[Callable[P, Iterator[Progress | R]]], Experiment[P, R]]:
    """Declare a generator as an `Experiment`, whose parameters these are."""

    def decorate(function: Callable[P, Iterator[Progress | R]]) -> Experiment[P, R]:
        return Experiment(
            function, result, page=page, task=task, command=command, figure=figure, subject=subject, stages=stages,
            images=images,
        )  # fmt: skip

    return decorate


def size(value: Any) -> int:
    """How many values a parameter stands for: of a number that many, of a text one, of a sequence its length."""
    return value if isinstance(value, int) else 1 if isinstance(value, str) else len(value)


def settings_of_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments that make a run what it is, as plain values; pictures, models and previews are left out."""
    left_out = {"lab", "encoder", "preview_every"}
    values = {name: _plain(value) for name, value in arguments.items() if name not in left_out}
    return {name: value for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    """A value as JSON can hold it, or None for a tensor and other things that a PNG can't carry."""
    if hasattr(value, "settings"):  # an inversion says how it was made
        return value.settings
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {k: _plain(v) for k, v in vars(value).items()}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, range | list | tuple):
        return tuple(_plain(v) for v in value)
    if isinstance(value, Path):
        return str(value)
    return value if isinstance(value, str | int | float | bool) else None


def settings_of(lab: Lab, experiment: str, **params: Any) -> dict[str, Any]:
    """What a result remembers: the versions of code and weights, the experiment, its parameters."""
    about = {"latentlab": __version__, "experiment": experiment, "model": lab.name, "weights": lab.weights}
    return {**about, **getattr(lab.decoder, "settings", {}), **params}
