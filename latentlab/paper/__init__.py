"""The paper's figures, remade on any lab into one folder with a page to leaf through."""

from .figures import FIGURES, remake

__all__ = ["FIGURES", "remake"]
