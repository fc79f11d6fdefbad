"""What an experiment is: a declared function that can be run or streamed, its progress, and its frozen result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, TypeVar

from torch import Tensor

from ..errors import UserError
from .settings import settings_of

if TYPE_CHECKING:
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
        table: tidy, one row for each measured quantity and point of the sweep: the point's coordinates, `quantity`,
            `value`, `n`, and `low`, `high` of the 95% interval (None where n is 1).
        settings: everything that is needed to do it again; `Experiment.stream` records it.
        notes: what the model could not see or do.
    """

    table: tuple[dict, ...] = ()
    settings: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def figure(self) -> Figure:
        """The experiment as one picture to look at."""
        raise NotImplementedError

    def summary(self) -> str:
        """The outcome in a sentence or two, with its numbers."""
        raise NotImplementedError

    def value(self, quantity: str, **where: object) -> float:
        """The one value in the table of that quantity, at that point of the sweep."""
        wanted = {"quantity": quantity, **where}
        values = [row["value"] for row in self.table if all(row.get(k) == v for k, v in wanted.items())]
        if len(values) != 1:
            quantities = ", ".join(dict.fromkeys(row["quantity"] for row in self.table))
            raise UserError(
                f"{len(values)} rows have {wanted}: name one point of the sweep; the quantities are {quantities}"
            )
        return values[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.summary()}"

    def _repr_png_(self) -> bytes:
        return self.figure()._repr_png_()


@dataclass(frozen=True, eq=False)
class Declaration(Generic[R]):
    """What the command line, the pages and the paper's figures need to know of an experiment.

    Args:
        result: the type of its result.
        page: the key of the page that shows it; "" where none does.
        task: what that page calls it, where the page has several experiments to choose from.
        command: the words of its command line; "" where it has none.
        figures: its keys in `latentlab figures`; () where the paper has none.
        stages: the names of the stages that its Progress reports.
        images: counts the pictures that a run decodes, and those that CLIP sees at each step of a climb, from the
            arguments by name; at most, where the model decides.
    """

    result: type[R]
    page: str = field(kw_only=True)
    command: str = field(kw_only=True)
    figures: tuple[str, ...] = field(kw_only=True)
    stages: tuple[str, ...] = field(kw_only=True)
    images: Callable[[dict[str, Any]], int] = field(kw_only=True)
    task: str = field(default="", kw_only=True)


class experiment(Declaration[R]):
    """Declare a generator of Progress, whose last value is the result, as an `Experiment`."""

    def __call__(self, function: Callable[P, Iterator[Progress | R]]) -> Experiment[P, R]:
        return Experiment(function, self)


class Experiment(Declaration[R], Generic[P, R]):
    """One experiment: call it to run it to its end, or watch it with `stream`.

    Args:
        function: the generator of Progress whose last value is the result; its first parameter is the lab.
        declaration: the facts about it, which become its attributes.
    """

    def __init__(self, function: Callable[P, Iterator[Progress | R]], declaration: Declaration[R]):
        super().__init__(**vars(declaration))
        # A frozen dataclass guards its fields only, so this subclass can set attributes of its own.
        self.function, self.signature = function, inspect.signature(function)
        self.name = self.__name__ = function.__name__
        self.__doc__, self.__module__, self.__wrapped__ = function.__doc__, function.__module__, function
        self.__signature__ = self.signature.replace(return_annotation=self.result.__name__)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the experiment to its end and return its result."""
        for value in self.stream(*args, **kwargs):
            last = value
        return last  # type: ignore[return-value]

    def stream(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[Progress | R]:
        """Yield Progress on the way, with previews, and the result last, which remembers its settings."""
        arguments = self.arguments(*args, **kwargs)
        for value in self.function(*args, **kwargs):
            if isinstance(value, Result):
                value = replace(value, settings=settings_of(self.name, arguments, value))
            yield value

    def arguments(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        """All parameters of a call by name, defaults included."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    def count_images(self, *args: P.args, **kwargs: P.kwargs) -> int:
        """How many pictures a run with these arguments decodes, or shows CLIP at each step of a climb."""
        return self.images(self.arguments(*args, **kwargs))

    def __repr__(self) -> str:
        return f"<experiment {self.name}>"


def size(value: Any) -> int:
    """How many values a parameter stands for: a number n for n, a text for one, a sequence for its length."""
    return value if isinstance(value, int) else 1 if isinstance(value, str) else len(value)
