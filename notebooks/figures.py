"""The one style for all figures; showing a figure with a text for those who can't see it; sliders that redraw one."""

import matplotlib.pyplot as plt
from IPython.display import Markdown, display
from ipywidgets import Button, HBox, VBox
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


def explore(draw, **sliders):
    """Show the sliders and what draw makes of their values, anew whenever one moves; and a button to reset them.

    draw(name=value, ...) returns a figure and its text for `show`, or Markdown text alone. A run that diverges shows
    its message. (Not ipywidgets' interact: it shows through an Output widget, on which nbclient at times hangs.)
    """
    reset = Button(
        description="reset", tooltip="set all sliders to where they were at first"
    )
    display(VBox([*sliders.values(), HBox([reset])]))
    place = display(Markdown(""), display_id=True)
    first = {name: slider.value for name, slider in sliders.items()}

    def redraw(_=None):
        try:
            shown = draw(**{name: slider.value for name, slider in sliders.items()})
        except FloatingPointError as message:
            shown = f"**Stopped:** {message}"
        if isinstance(shown, str):
            place.update(Markdown(shown))
        else:
            fig, alt = shown
            place.update(fig, metadata={"image/png": {"alt": alt}})
            plt.close(fig)

    def set_all(_):
        for name, slider in sliders.items():
            slider.value = first[name]

    for slider in sliders.values():
        slider.observe(redraw, "value")
    reset.on_click(set_all)
    redraw()
