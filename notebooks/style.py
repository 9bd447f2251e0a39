"""The one style for all figures, and how they are shown: with a text that stands for them."""

import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib_inline.backend_inline import set_matplotlib_formats

# One meaning, one colour, in all notebooks (Okabe & Ito's colours, told apart by the colour-blind).
RECOMPUTED, REPORTED, FLOOR = "#0072B2", "#D55E00", "#000000"
OBSERVED, MISSING, OTHER = "#009E73", "#CC79A7", "#E69F00"

set_matplotlib_formats("retina")  # twice the resolution, at the same size
plt.rcParams.update({
    "figure.figsize": (7, 3.6),
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": plt.cycler(color=[RECOMPUTED, REPORTED, OBSERVED, MISSING, OTHER, "#56B4E9"]),
    "grid.color": "#dddddd",
    "image.cmap": "viridis",
    "legend.frameon": False,
})  # fmt: skip


def show(fig, alt):
    """Show the figure, once, with the text that stands for it where it can't be seen."""
    display(fig, metadata={"image/png": {"alt": alt}})
    plt.close(fig)
