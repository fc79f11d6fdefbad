"""The paper's figures, remade on any lab into one folder with an HTML page that shows them."""

from .figures import FIGURES, remake

__all__ = ["FIGURES", "remake"]
