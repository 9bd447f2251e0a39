"""The figures of the notebooks: one style, a text that stands for each, what moves."""

import html
import io
import json
import math
from base64 import b64encode

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.colors import to_hex
from matplotlib_inline.backend_inline import set_matplotlib_formats

from mf_paths import LIVE

# One meaning, one colour: Okabe & Ito's, the lightest two darker, for 3:1 on white.
RECOMPUTED, REPORTED, FLOOR = "#0072B2", "#D55E00", "#000000"
OBSERVED, MISSING, OTHER = "#009E73", "#CC79A7", "#BC8200"
COLORS = [RECOMPUTED, REPORTED, OBSERVED, MISSING, OTHER, "#3D97CC"]

set_matplotlib_formats("retina")  # twice the resolution, at the same size
STYLE = {
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
    "axes.prop_cycle": plt.cycler(color=COLORS),
    "grid.color": "#dddddd",
    "image.cmap": "viridis",
    "legend.frameon": False,
}
plt.rcParams.update(STYLE)

SCRIPT = r"(?<=</figure>)\n<style>.*</script>"  # in what a cell shows; it is not stored
LIVE_FILES = ["live.css", "algorithm.js", "plot.js", "training.js", "figures.js", "recommend.js"]


def show(fig, alt):
    """Show the figure, once, with the text that stands for it where it is not seen."""
    display(fig, metadata={"image/png": {"alt": alt}})
    plt.close(fig)


def show_product(tables, finding):
    """Show three pandas tables, by caption, as one that is about the product of the others."""
    parts = [
        f"<div><p>{html.escape(caption)}</p>{table.to_html()}</div>"
        for caption, table in tables.items()
    ]
    words = f"<p>{html.escape(finding)}</p>"
    page = f'<div class="factors">{"<b>≈</b>".join(parts[:2])}<b>·</b>{parts[2]}</div>{words}'
    display({"text/html": page, "text/plain": finding}, raw=True)


# ------------------------------------------------------------------ live figures
def live(kind, figures, controls, *, alt, caption, name, more=(), guess=(), **data):
    """Show figures as pictures that live/figures.js turns into ones that move.

    kind: the function there that draws them, from the data. figures: Matplotlib's, of which
    the kind moves the lines that have a gid, or a `picture`. controls: HTML, from `slider`
    and others; `more` of them are folded. name: of the figure in a page's address. guess: a
    question, and the settings that each choice sets; the kind judges it. In the data,
    `state` has the settings that are dragged in the figure and have no control.

    What is stored is the picture, its caption (the finding) and the data. Script and style
    come from the report's pages, or from here where a reader has run the cell; `make
    refresh` does not store them. On paper, and without them, the picture stands.
    """
    if guess:
        data["choices"] = list(guess[1].values())
    drawn = [fig for fig in figures if not isinstance(fig, str)]
    data["axes"] = [_describe(ax) for fig in drawn for ax in fig.axes]
    stills = [fig if isinstance(fig, str) else _still(fig) for fig in figures]
    plt.close("all")  # which would be shown once more, as they are
    page = LIVE_FIGURE.format(
        kind=kind,
        name=name,
        stills="\n".join(stills).replace('alt=""', f'alt="{html.escape(alt)}"', 1),
        controls="\n".join(controls),
        question=_question(*guess) if guess else "",
        more=f"<details><summary>More</summary>{''.join(more)}</details>" if more else "",
        caption=html.escape(caption),
        data=_as_json(data),
    )
    display({"text/html": page + _style_and_script(), "text/plain": f"{alt} {caption}"}, raw=True)


# JupyterLab leaves display:none in a notebook that it does not trust.
LIVE_FIGURE = """<figure class="live" data-kind="{kind}" data-name="{name}">
<div class="stills">
{stills}
</div>
<form style="display:none" autocomplete="off">
{controls}
<output class="status"></output>
{question}
<button type="reset">Reset</button>
{more}
</form>
<figcaption>{caption}</figcaption>
<script type="application/json">
{data}
</script>
</figure>"""


def _question(question, choices):
    """A question, with a button for each choice."""
    buttons = "\n".join(f'<button type="button">{label}</button>' for label in choices)
    return f'<fieldset class="guess"><legend>{question}</legend>\n{buttons}</fieldset>'


def _as_json(data):
    """The data, a line for each name, such that no text in it can end the script."""
    entries = ",\n".join(f'"{name}": {_json_of(x)}' for name, x in data.items())
    return f"{{\n{entries}\n}}".replace("</", "<\\/")


def _json_of(x):
    """A value as JSON, with six digits of a float: processors differ in the seventh."""
    if isinstance(x, dict):
        return "{" + ",".join(f'"{name}":{_json_of(value)}' for name, value in x.items()) + "}"
    if isinstance(x, (list, tuple)):
        return "[" + ",".join(map(_json_of, x)) + "]"
    if isinstance(x, float) and math.isfinite(x):
        text = f"{x:#.6g}"
        return f"{text}0" if text.endswith(".") else text
    return json.dumps(x)


def _style_and_script():
    """What moves the figure: each brings all of it, for Colab gives each a frame of its own."""
    style, *scripts = ((LIVE / name).read_text(encoding="utf-8") for name in LIVE_FILES)
    return f"\n<style>{style}</style><script>{''.join(scripts)}</script>"


def _still(fig):
    """The figure as an image, which JupyterLab shows also where it takes scripts out."""
    png = io.BytesIO()
    for ax in fig.axes:
        ax.legend(handles=[x for x in ax.lines if len(x.get_xdata()) and _label_of(x)])
    fig.savefig(png, dpi=160)
    return _image(png, 100 * fig.get_figwidth())


def _image(png, width):
    data = b64encode(png.getvalue()).decode()
    return (
        f'<img class="still" alt="" style="width: {width:g}px" src="data:image/png;base64,{data}">'
    )


def _describe(ax):
    """Axes for live/plot.js: their title, scales and lines, of which those with a gid move."""
    scales = {
        side: {
            "label": axis.get_label_text(),
            "ends": list(axis.get_view_interval()),
            "log": axis.get_scale() == "log",
        }
        for side, axis in (("across", ax.xaxis), ("up", ax.yaxis))
    }
    return {"title": ax.get_title("left"), **scales, "lines": list(map(_describe_line, ax.lines))}


def _label_of(line):
    label = str(line.get_label())
    return "" if label.startswith("_") else label


def _describe_line(line):
    name = line.get_gid() or ""
    marker = line.get_marker().replace("None", "")
    color = to_hex(line.get_color())
    in_data = line.get_transform() - line.axes.transData  # of a line across the axes, too
    return {
        "name": name,
        "label": _label_of(line),
        "color": "currentColor" if color == FLOOR else color,
        "width": line.get_markersize() if marker else line.get_linewidth(),
        "dash": {"--": "7 4", ":": "2 4"}.get(line.get_linestyle(), ""),
        "marker": marker,
        "opacity": line.get_alpha() or 1,
        "points": [] if name else in_data.transform(line.get_xydata()).tolist(),
    }


# ------------------------------------------------------------------ what live is given
def slider(name, value, low, high, step=1, *, log=False, label=""):
    """A slider; with log, its step is in powers of ten."""
    if log:
        value, low, high = (round(math.log10(x), 6) for x in (value, low, high))
    return (
        f'<label>{label or name} <input type="range" name="{name}" min="{low:g}" max="{high:g}" '
        f'step="{step}" value="{value:g}"{" data-log=1" if log else ""}>'
        '<span aria-hidden="true"></span></label>'
    )


def fields(A):
    """The entries of A, to be typed anew."""
    typed = [
        f'<input type="number" name="a{i}{j}" value="{x:.4f}" step="any" '
        f'aria-label="row {i + 1}, column {j + 1}">'
        for i, row in enumerate(A)
        for j, x in enumerate(row)
    ]
    return f'<div class="fields">{"".join(typed)}</div>'


def picture(X):
    """A picture: grey, of brightnesses from 0 to 1, or of colours and opacity."""
    png = io.BytesIO()
    plt.imsave(png, np.asarray(X), cmap="gray", vmin=0, vmax=1)
    return _image(png, 2 * X.shape[1])


LARGEST_WHOLE = 8191  # in smaller units a processor's order of sums would show


def packed(rows):
    """Each row as multiples of a unit of its own, whole numbers of 16 bits in base64."""
    rows = np.asarray(rows, np.float64)
    units = abs(rows).max(1) / LARGEST_WHOLE
    whole = np.rint(rows / units[:, None]).astype("<i2")
    return {"int16": b64encode(whole.tobytes()).decode(), "units": units.tolist()}


def packed_svd(U, S, Vh):
    """A singular value decomposition: U sqrt(S) and V sqrt(S), one vector after the other.

    The last vectors differ between processors. But their singular values are small, and so
    are their numbers, in a unit that is the same for all. Of the two signs that a vector
    of U may have, it gets the one with a positive sum.
    """
    root = S.double().sqrt() * U.double().sum(0).sign()
    left, right = (root * U.double()).T, root[:, None] * Vh.double()
    vectors = {"U": packed(left.reshape(1, -1)), "V": packed(right.reshape(1, -1))}
    return {"shape": [len(U), Vh.shape[1]], "S": S.tolist(), **vectors}


def packed_ratings(A, fit, valid):
    """The ratings where fit or valid is 1, row by row: 16 bits for each, in base64.

    11 bits count the cells since the last rating, 4 the half stars, and one is set for
    valid. On the way to a rating more than 2047 cells off stand some without stars.
    """
    cells = np.flatnonzero(fit | valid)
    half_stars = (2 * A.numpy().ravel()[cells]).astype(int)
    far, near = np.divmod(np.diff(cells, prepend=0), 2047)
    words = 32 * near + 2 * half_stars + valid.numpy().ravel()[cells]
    words = np.insert(words, np.repeat(np.arange(len(words)), far), 32 * 2047)
    return b64encode(words.astype("<u2").tobytes()).decode()


# ------------------------------------------------------------------ rate films
def rate_films(model, titles, places, mine, popular, lists, decay):
    """Films to give stars to; live/recommend.js makes 5.2's lists of them.

    model, titles, decay and places, the map, are 5.2's; mine has the stars to begin with, by title;
    popular the numbers of the best-known films, the best-known first; lists what
    5.2's recommend returns for these stars.
    """
    mu, b, U, W = model
    data = {name: packed(X) for name, X in (("U", U.T), ("W", W.T), ("b", b[None]))}
    data["places"] = packed(places.T)
    data |= {"mu": mu.item(), "decay": decay, "titles": titles, "length": len(lists)}
    data["mine"] = [[titles.index(title), stars] for title, stars in mine.items()]
    data["popular"] = popular
    highest, stars, why, probable, why_too = lists.columns
    notes = {highest: lists[stars].map("{:.1f} stars, ".format) + lists[why]}
    notes[probable] = lists[why_too]
    shown = []
    models = {highest: "by predicted stars", probable: "by the score without a mask"}
    for name, model_name in models.items():
        items = "\n".join(
            f"<li>{html.escape(film)} <small>{html.escape(note)}</small></li>"
            for film, note in zip(lists[name], notes[name], strict=True)
        )
        heading = f"<strong>{name.capitalize()}</strong><small>{model_name}</small>"
        shown.append(f"<div>{heading}<ol>{items}</ol></div>")
    given = ", ".join(f"{title} {stars}" for title, stars in mine.items())
    page = FILMS.format(lists="\n".join(shown), stars=html.escape(given), data=_as_json(data))
    text = f"Two lists for {given}: first {lists[highest][1]}, and {lists[probable][1]}."
    display({"text/html": page + _style_and_script(), "text/plain": text}, raw=True)


FILMS = """<figure class="films">
<form style="display:none" autocomplete="off">
<label>Find a film
<input type="search" data-lm-suppress-shortcuts="true"></label>
<div class="hits" role="status"></div>
<div class="stars"></div>
<button type="reset">Forget all stars</button>
</form>
<output class="status">For these stars: {stars}.</output>
<div class="lists">
{lists}
</div>
<div class="map" style="display:none"><output></output>
<svg role="img" aria-label="The map of films: the search marks its hits"></svg></div>
<script type="application/json">
{data}
</script>
</figure>"""
