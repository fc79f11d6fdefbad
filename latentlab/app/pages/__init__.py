"""The pages: each module describes one as `PAGE`."""

from importlib import import_module
from pkgutil import iter_modules

from ..page import Page

_DECLARED: list[Page] = [import_module(f"{__name__}.{info.name}").PAGE for info in iter_modules(__path__)]
PAGES: tuple[Page, ...] = tuple(sorted(_DECLARED, key=lambda page: (page.order, page.title)))
