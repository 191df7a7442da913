"""Preference losses: their scale, the NLL mixed in, the pairs they need, and where the chosen log-probability goes."""

import matplotlib.figure

from . import style
from .figure import Figure


def draw(rows, manifests) -> matplotlib.figure.Figure:
    """To be drawn."""
    figure, _ = style.new_figure(1, 1)
    return figure


FIGURE = Figure(name="preference_losses", needs=("preference_losses",), draw=draw, summary="")
