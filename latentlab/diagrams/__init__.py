"""Diagrams of the pipeline and its parts as SVG, with the part at hand lit; course, docs and app draw them here."""

from .drawing import Box, Diagram
from .figures import DIAGRAMS
from .pipeline import NARROW, PIPELINE, STAGES


def diagram(name: str, *lit: str) -> Diagram:
    """One of `DIAGRAMS` with these boxes lit; a notebook shows it.

    Raises:
        UserError: there is no such diagram, or it has no such box.

    >>> diagram("pipeline", "prior").title
    'The pipeline'
    """
    from ..errors import UserError

    if name not in DIAGRAMS:
        raise UserError(f"there is no diagram “{name}”: give one of {', '.join(DIAGRAMS)}")
    return DIAGRAMS[name].with_lit(*lit)


__all__ = ["DIAGRAMS", "NARROW", "PIPELINE", "STAGES", "Box", "Diagram", "diagram"]
