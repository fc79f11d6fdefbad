"""Each experiment as one call that returns a frozen result: pictures, a tidy table of numbers, and a figure.

Each is an `Experiment`: `generate(...)` runs to the end and returns the result, `generate.stream(...)` yields
`Progress` on the way and the result last, so that a page can draw and stop it.  `EXPERIMENTS` has them by name;
`docs/experiments.md` lists them.

A module of this package that declares an experiment needs no entry here.  Type checkers read the names in
`__init__.pyi`, which `python docs/experiments.py` writes.
"""

from importlib import import_module
from pkgutil import iter_modules

from .base import Experiment, Progress, Result

_MODULES = [import_module(f"{__name__}.{info.name}") for info in iter_modules(__path__)]
_DECLARED = {
    value.name: value
    for module in _MODULES
    for value in vars(module).values()
    if isinstance(value, Experiment) and value.__module__ == module.__name__
}
EXPERIMENTS: dict[str, Experiment] = dict(sorted(_DECLARED.items()))
_RESULTS = {experiment.result.__name__: experiment.result for experiment in EXPERIMENTS.values()}

globals().update(EXPERIMENTS | _RESULTS)
__all__ = ["EXPERIMENTS", "Experiment", "Progress", "Result", *EXPERIMENTS, *_RESULTS]
