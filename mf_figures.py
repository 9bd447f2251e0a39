"""The figures of the notebooks: one style, a text that stands for each, what moves."""

import html
import io
import json
import math
import re
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
LIVE_FILES = ["live.css", "algorithm.js", "training.js", "figures.js", "recommend.js"]


def show(fig, alt):
    """Show the figure, once, with the text that stands for it where it is not seen."""
    display(fig, metadata={"image/png": {"alt": alt}})
    plt.close(fig)


# ------------------------------------------------------------------ live figures
def live(
    kind, figures, lines, controls, *, alt, status, caption, name="", tables="", guess=(), **data
):
    """Show figures that live/figures.js keeps drawing; no Python stands behind them.

    kind: the function there that draws them, from the data: `play`, the slider that
    Play moves, and what else the kind needs. figures: Matplotlib's, or a `picture`.
    lines: those that move, by name. controls: HTML, from `slider` and others; so is
    tables, above them. alt describes the figures; status is what the kind says of their
    first state. name: apart from those of other figures of this kind in the notebook.

    What is stored is the still figure, its finding and the data. Script and style come
    from the report's pages, or from here where a reader has run the cell; `make refresh`
    does not store them. Without them there is no control, and no answer to a guess.

    guess: a question, and the settings that each choice plays; the kind judges the run.
    With `start`, settings too, the page begins there and hides the answer (live.css).
    """
    if guess:
        question, choices = guess
        controls = [_question(question, choices), *controls]
        data["choices"] = list(choices.values())
    for line in lines.values():
        line.set_visible(False)
    prefix = f"{kind}{name}"
    drawings = [
        fig if isinstance(fig, str) else _drawing(fig, lines, f"{prefix}{number}")
        for number, fig in enumerate(figures)
    ]
    layers = {name: _layer(line) for name, line in lines.items()}
    plt.close("all")  # which would be shown once more, as they are
    text = f"{alt} {status}"
    drawings[:1] = [x.replace('alt=""', f'alt="{html.escape(text)}"') for x in drawings[:1]]
    page = LIVE_FIGURE.format(
        kind=kind,
        drawings="\n".join(drawings),
        text=html.escape(text),
        tables=tables,
        controls="\n".join(controls),
        status=html.escape(status),
        caption=html.escape(caption),
        hidden=HIDDEN if guess else "",
        data=_as_json({"layers": layers, "alt": alt} | data),
    )
    display({"text/html": page + _style_and_script(), "text/plain": text}, raw=True)


HIDDEN = 'style="display:none"'  # which JupyterLab leaves in a notebook that it does not trust
LIVE_FIGURE = """<figure class="live" data-kind="{kind}">
<div class="drawing" role="img" aria-label="{text}">
{drawings}
</div>
{tables}
<form style="display:none" autocomplete="off">
{controls}
<div><button type="button" class="play">Play</button>
<button type="reset">Reset</button></div>
</form>
<output class="status">{status}</output>
<figcaption {hidden}>{caption}</figcaption>
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


def _drawing(fig, lines, prefix):
    """The figure as an image of SVG, with the lines that move on top; prefix: of its ids.

    JupyterLab shows an image also where it takes SVG out. live/figures.js puts the SVG there.
    """
    fig.set_dpi(72)  # the unit of an SVG
    file = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "live"}):
        fig.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    svg = file.getvalue().split("</defs>", 1)[1]  # after the style sheet
    svg = re.sub(r' id="[a-zA-Z0-9.]+_[0-9]+"', "", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).strip()
    svg = svg.replace("xlink:href", "href").removesuffix("</svg>")
    # Two decimals of a coordinate, but all of 0.015625, the scale of a letter.
    svg = re.sub(r"(?!0\.0)\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}", svg)
    # Matplotlib names clips and markers by a hash, which one digit changes: they are numbered.
    names = {}
    for hashed in re.findall(r'id="([a-zA-Z][0-9a-f]{10})"', svg):
        names.setdefault(hashed, f"{len(names)}")
    own = lambda match: f"{match[1]}{prefix}-{names.get(match[2], match[2])}"  # noqa: E731
    svg = re.sub(r'(id="|href="#|url\(#)([^")]+)', own, svg)
    paths = [_path(name, line) for name, line in lines.items() if line.figure is fig]
    width, height = fig.bbox.size
    size = f"flex: 1 1 {1.25 * width:.0f}px; max-width: {width / 0.72:.0f}px"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
    head += f' width="{width:g}" height="{height:g}">'
    return _image("svg+xml", f"{head}{svg}{''.join(paths)}</svg>".encode(), size)


def _image(form, content, style, kind="still"):
    data = b64encode(content).decode()
    return f'<img class="{kind}" alt="" style="{style}" src="data:image/{form};base64,{data}">'


def _layer(line):
    """Where a line lies, for live/figures.js: its axes' box, ends and scales."""
    box = line.axes.bbox
    top = line.figure.bbox.height - box.y1
    layer = {"box": [box.x0, top, box.width, box.height]}
    layer["dots"] = line.get_linestyle() == "None"
    for name, axis in (("across", line.axes.xaxis), ("up", line.axes.yaxis)):
        low, high = axis.get_transform().transform(axis.get_view_interval())
        layer[name] = [low, high, axis.get_scale() == "log"]
    return layer


def _path(name, line):
    """The line as an element of the drawing, cut off where its axes end."""
    layer = _layer(line)
    dots = layer["dots"]
    drawn = []
    for x, y in line.axes.transData.transform(line.get_xydata()).tolist():
        point = x, line.figure.bbox.height - y
        # As in live/figures.js, a line has no points too near to the last to be seen.
        if dots or not drawn or math.dist(point, drawn[-1]) >= 0.3:
            drawn.append(point)
    places = [f"{x:.1f} {y:.1f}" for x, y in drawn]
    # A dot is a line of hardly any length, with round ends.
    path = "".join(f"M{at}h.01" for at in places) if dots else "M" + "L".join(places)
    x, y, width, height = (f"{side:.1f}" for side in layer["box"])
    thickness = line.get_markersize() if dots else line.get_linewidth()
    return (
        f'<svg x="{x}" y="{y}" width="{width}" height="{height}" '
        f'viewBox="{x} {y} {width} {height}">'
        f'<path data-name="{name}" fill="none" stroke="{to_hex(line.get_color())}" '
        f'stroke-width="{thickness:g}" stroke-opacity="{line.get_alpha() or 1:g}" '
        f'stroke-linecap="round" stroke-linejoin="round" d="{path}"/></svg>'
    )


# ------------------------------------------------------------------ what live is given
def slider(name, value, low, high, step=1, *, log=False):
    """A slider; with log, its step is in powers of ten."""
    if log:
        value, low, high = (round(math.log10(x), 6) for x in (value, low, high))
    return (
        f'<label>{name} <input type="range" name="{name}" min="{low:g}" max="{high:g}" '
        f'step="{step}" value="{value:g}"{" data-log=1" if log else ""}>'
        '<span aria-hidden="true"></span></label>'
    )


def button(label, status):
    """A button that runs many seeds, and what is said when they have run."""
    return (
        f'<div class="wide"><button type="button" class="run">{label}</button>'
        f'<output class="counted">{status}</output></div>'
    )


def table(name, X, caption):
    """A matrix as a table; the kind refills its cells by name."""
    cells = [[f'<td class="{name}">{x:.4f}</td>' for x in row] for row in X]
    return _table(cells, caption)


def fields(A, M):
    """The entries of A to be typed anew or hidden; below each what the product has."""

    def field(i, j):
        entry = f"entry [{i}, {j}]"
        return (
            f'<td><input type="number" name="a{i}{j}" value="{A[i][j]:.4f}" step="any" '
            f'aria-label="{entry}"><label><input type="checkbox" name="m{i}{j}" '
            f'aria-label="{entry} is observed"{" checked" if M[i][j] else ""}>'
            '<span class="completed"></span></label></td>'
        )

    cells = [[field(i, j) for j in range(len(A[0]))] for i in range(len(A))]
    caption = "A (ticked: observed), and U V<sup>T</sup>"
    return f'<div class="wide">{_table(cells, caption)}</div>'


def _table(cells, caption):
    """The cells as a table, with the numbers of its rows and columns from 0."""
    head = "".join(f'<th scope="col">{j}</th>' for j in range(len(cells[0])))
    rows = "".join(
        f'<tr><th scope="row">{i}</th>{"".join(row)}</tr>' for i, row in enumerate(cells)
    )
    return f"<table><caption>{caption}</caption><tr><td></td>{head}</tr>{rows}</table>"


def picture(X):
    """A grey picture, of brightnesses from 0 to 1."""
    png = io.BytesIO()
    plt.imsave(png, np.asarray(X), cmap="gray", vmin=0, vmax=1)
    m, n = X.shape
    return _image("png", png.getvalue(), f"flex: 1 1 {2 * n}px; max-width: {2 * n}px", "photo")


LARGEST_WHOLE = 8191  # in smaller units a processor's order of sums would show


def packed(U, S, Vh):
    """A singular value decomposition: U sqrt(S) and V sqrt(S), one vector after the other.

    The last vectors differ between processors. But their singular values are small, and so
    are their numbers, in a unit that is the same for all. Of the two signs that a vector
    of U may have, it gets the one with a positive sum.
    """
    root = S.double().sqrt() * U.double().sum(0).sign()
    left, right = (root * U.double()).T, root[:, None] * Vh.double()
    unit = max(left.abs().max(), right.abs().max()).item() / LARGEST_WHOLE
    vectors = {"U": _int16(left / unit), "V": _int16(right / unit)}
    return {"shape": [len(U), Vh.shape[1]], "S": S.tolist(), "unit": unit, **vectors}


def _int16(X):
    """The numbers, row by row, as whole ones of 16 bits in base64."""
    return {"int16": b64encode(np.rint(np.asarray(X)).astype("<i2").tobytes()).decode()}


def _with_units(rows):
    """Each row as multiples of a unit of its own."""
    rows = np.asarray(rows, np.float64)
    units = abs(rows).max(1) / LARGEST_WHOLE
    return {**_int16(rows / units[:, None]), "units": units.tolist()}


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
    data = {name: _with_units(X) for name, X in (("U", U.T), ("W", W.T), ("b", b[None]))}
    data["places"] = _with_units(places.T)
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
