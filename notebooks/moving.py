"""What moves: live figures, which compute in the page, and sliders that redraw a figure with Python."""

import base64
import hashlib
import html
import io
import json
import math
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, Markdown, display
from ipywidgets import Button, HBox, VBox
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex


def explore(draw, **sliders):
    """Show the sliders and what draw makes of their values, anew whenever one moves; and a button to reset them.

    draw(name=value, ...) returns a figure and its text for `show`, or Markdown text alone. The text is shown under
    the figure. A run that diverges shows its message. (Not ipywidgets' interact: it shows through an Output widget,
    on which nbclient at times hangs.)
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
        place.update(Markdown(shown) if isinstance(shown, str) else _picture(*shown))

    def set_all(_):
        for slider in sliders.values():
            slider.unobserve(redraw, "value")
        for name, slider in sliders.items():
            slider.value = first[name]
            slider.observe(redraw, "value")
        redraw()

    for slider in sliders.values():
        slider.observe(redraw, "value")
    reset.on_click(set_all)
    redraw()


def _picture(fig, alt):
    """The figure with its text beneath, at two pixels to a pixel of the page."""
    width, height = (round(side * 100) for side in fig.get_size_inches())
    fig.set_dpi(200)
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    plt.close(fig)
    png = io.BytesIO()
    plt.imsave(png, np.asarray(canvas.buffer_rgba()), pil_kwargs={"compress_level": 1})
    return HTML(
        f'<figure style="margin: 0"><img src="data:image/png;base64,{_base64(png.getvalue())}" '
        f'alt="{html.escape(alt)}" width="{width}" height="{height}">'
        f'<figcaption role="status">{html.escape(alt)}</figcaption></figure>'
    )


def _base64(data):
    return base64.b64encode(data).decode()


# ------------------------------------------------------------------ live figures
def live(kind, figs, moving, controls, *, alt, said, caption="", parts="", **config):
    """Show figures that live.js keeps drawing as a reader moves the controls; no Python stands behind them.

    figs: Matplotlib's, or what `picture` gives. kind: how live.js draws, and what it says; it is given config: play, the slider that the button "Play" moves, and
    what else this kind needs. moving: the lines of the figures that it moves, by name; what they show at first stands
    where nothing can move (on paper, or where scripts may not run). controls: HTML, from `slider` for instance.
    alt describes the figures, said is what live.js says of their first state, caption what they show anyway. parts is
    HTML that goes between the figures and the controls.
    """
    for artist in moving.values():
        artist.set_visible(False)
    drawings, layers, config = [], {}, config | {"alt": alt}
    for fig in figs:
        if isinstance(fig, str):
            drawings.append(fig)
            continue
        fig.set_dpi(72)  # the unit of an SVG
        drawing = [_svg(fig)]
        for name, artist in moving.items():
            if artist.figure is fig:
                layers[name], element = _layer(name, artist)
                drawing.append(element)
        drawings.append("".join(drawing) + "</svg>")
        plt.close(fig)
    config = {"layers": layers, **config}
    config = [
        f'"{name}": {json.dumps(value, separators=(",", ":"))}'
        for name, value in config.items()
    ]
    page = LIVE.format(
        kind=kind,
        drawings="\n".join(drawings),
        alt=html.escape(f"{alt} {said}"),
        parts=parts,
        controls="\n".join(controls),
        said=html.escape(said),
        caption=f"<figcaption>{html.escape(caption)}</figcaption>" if caption else "",
        script=Path(__file__).with_name("live.js").read_text(encoding="utf-8"),
        config=",\n".join(config).replace("</", "<\\/"),
    )
    display({"text/html": page, "text/plain": f"{alt} {said}"}, raw=True)


def player(fig, moving, captions, alt):
    """Show the figure with a slider and a button that play it.

    moving maps lines of the figure to their frames, one for each caption: arrays of points (p, 2) in data coordinates.
    The last frame comes first, and alt describes it.
    """
    for artist, frames in moving.items():
        if len(frames) != len(captions):
            raise ValueError(
                f"{artist} has {len(frames)} frames, but there are {len(captions)} captions"
            )
        artist.set_data(np.reshape(frames[-1], (-1, 2)).T)
    names = {f"layer{k}": artist for k, artist in enumerate(moving)}
    frames = {name: _points(moving[artist]) for name, artist in names.items()}
    last = len(captions) - 1
    said = {"alt": alt, "said": captions[-1], "captions": captions, "frames": frames}
    control = slider("frame", last, 0, last)
    live("frames", [fig], names, [control], **said, play="frame", ease=1, seconds=6)


def _points(frames):
    """The frames for JSON, with numbers of as many digits as a drawing needs."""
    return [
        [[float(f"{x:.5g}") for x in point] for point in np.reshape(frame, (-1, 2))]
        for frame in frames
    ]


def slider(name, value, low, high, step=1, *, label=None, log=False):
    """A slider for `live`; with log, it runs in steps of a power of ten."""
    if log:
        value, low, high = (round(math.log10(x), 6) for x in (value, low, high))
    return (
        f'<label>{label or name} <input type="range" name="{name}" min="{low:g}" max="{high:g}" step="{step}" '
        f'value="{value:g}"{" data-log=1" if log else ""}><span aria-hidden="true"></span></label>'
    )


def table(name, X, caption, cell='<td class="{name}">{0:.4f}</td>'):
    """A matrix as an HTML table for `live`, with the numbers of its rows and columns from 0."""
    head = "".join(f'<th scope="col">{j}</th>' for j in range(len(X[0])))
    rows = "".join(
        f'<tr><th scope="row">{i}</th>'
        + "".join(cell.format(x, i=i, j=j, name=name) for j, x in enumerate(row))
        + "</tr>"
        for i, row in enumerate(X)
    )
    return f"<table><caption>{caption}</caption><tr><td></td>{head}</tr>{rows}</table>"


def button(name, said):
    """A button for `live` to run many seeds, and what live.js says when they have run."""
    return (
        f'<div class="row"><button type="button" class="run">{name}</button>'
        f'<output class="counted">{said}</output></div>'
    )


def fields(A, M):
    """The entries of A for `live`, each to be typed anew or hidden; below each what the product has there."""
    cell = (
        '<td><input type="number" name="a{i}{j}" value="{0[0]:.4f}" step="any" aria-label="entry [{i}, {j}]">'
        '<label><input type="checkbox" name="m{i}{j}" aria-label="entry [{i}, {j}] is observed"{0[1]}>'
        '<span class="{name}"></span></label></td>'
    )
    pairs = zip(A, M, strict=True)
    X = [[(x, " checked" * m) for x, m in zip(*pair, strict=True)] for pair in pairs]
    head = "A (ticked: observed), and U V<sup>T</sup>"
    return f'<div class="row">{table("completed", X, head, cell)}</div>'


def picture(X):
    """A grey picture for `live`, of brightnesses from 0 to 1."""
    png = io.BytesIO()
    plt.imsave(png, np.asarray(X), cmap="gray", vmin=0, vmax=1)
    m, n = X.shape
    return (
        f'<svg class="photo" viewBox="0 0 {n} {m}" style="flex: 1 1 {2 * n}px; max-width: {2 * n}px">'
        f'<image width="{n}" height="{m}" href="data:image/png;base64,{_base64(png.getvalue())}"/></svg>'
    )


def packed(U, S, Vh):
    """A singular value decomposition for `live`: each vector as whole numbers of 16 bits, in base64."""
    vectors = [np.asarray(X, np.float64) for X in (U.T, Vh)]
    units = [abs(X).max(1) / 32767 for X in vectors]
    whole = [
        np.rint(X / unit[:, None]).astype("<i2")
        for X, unit in zip(vectors, units, strict=True)
    ]
    values = [
        {"value": s, "scale": s * u * v}
        for s, u, v in zip(S.tolist(), *units, strict=True)
    ]
    u, v = (_base64(X.tobytes()) for X in whole)
    return {"shape": [len(U), Vh.shape[1]], "S": values, "U": u, "V": v}


def _svg(fig):
    """The figure as SVG but for its end, the same each time, and with nothing in it that would reach out into the page."""
    out = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "live"}):
        fig.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    drawing = out.getvalue().split("<defs>", 1)[1]  # after the style sheet
    drawing = drawing.split("</style>", 1)[1].split("</defs>", 1)[1]
    drawing = re.sub(r' id="[a-zA-Z0-9.]+_[0-9]+"', "", drawing)
    drawing = re.sub(r"\s*\n\s*", " ", drawing)
    own = hashlib.sha1(drawing.encode()).hexdigest()[
        :6
    ]  # names of glyphs, apart from other figures' on the page
    drawing = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{own}-", drawing)
    size = f'style="flex: 1 1 {fig.get_figwidth() * 90:.0f}px; max-width: {fig.get_figwidth() * 100:.0f}px"'
    drawing = drawing.strip().removesuffix("</svg>")
    return f'<svg viewBox="0 0 {fig.bbox.width:g} {fig.bbox.height:g}" {size}>{drawing}'


def _layer(name, artist):
    """Where a line lies, for live.js, and its element: a marker is a line of hardly any length with round ends."""
    box, height = artist.axes.bbox, artist.figure.bbox.height
    place = [box.x0, height - box.y1, box.width, box.height]
    dots = artist.get_linestyle() == "None"
    along = {"box": place, "dots": dots}
    for key, axis in (("across", artist.axes.xaxis), ("up", artist.axes.yaxis)):
        low, high = axis.get_transform().transform(axis.get_view_interval())
        along[key] = [low, high, axis.get_scale() == "log"]
    kept = []  # as in live.js, without points of a line too near to the last one to be seen
    for point in artist.axes.transData.transform(artist.get_xydata()).tolist():
        if dots or not kept or math.dist(point, kept[-1]) >= 0.3:
            kept.append(point)
    steps = [f"{x:.1f} {height - y:.1f}" for x, y in kept]
    path = "".join(f"M{s}h.01" for s in steps) if dots else "M" + "L".join(steps)
    x, y, w, h = (f"{side:.1f}" for side in place)
    return along, (
        f'<svg x="{x}" y="{y}" width="{w}" height="{h}" viewBox="{x} {y} {w} {h}">'
        f'<path data-name="{name}" fill="none" stroke="{to_hex(artist.get_color())}" '
        f'stroke-width="{artist.get_markersize() if dots else artist.get_linewidth():g}" '
        f'stroke-opacity="{artist.get_alpha() or 1:g}" stroke-linecap="round" stroke-linejoin="round" d="{path}"/></svg>'
    )


LIVE = """<figure class="live" style="margin: 0; padding: 6px; border-radius: 6px; background: white; color: black; color-scheme: light">
<style>
.live .drawing {{ display: flex; flex-wrap: wrap; }}
.live form:not([hidden]) {{ display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: center; margin: 6px 0; }}
.live label {{ display: flex; align-items: center; gap: 6px; min-height: 24px; margin: 0; }}
.live form > label {{ flex: 1 1 220px; max-width: 340px; }}
.live .row {{ flex: 1 1 100%; }}
.live form > label span {{ min-width: 3.2em; }}
.live input[type="range"] {{ flex: 1; min-width: 0; height: 24px; margin: 0; }}
.live input[type="number"] {{ width: 5.5em; font: inherit; }}
.live input[type="checkbox"] {{ width: 24px; height: 24px; margin: 0; }}
.live td:has(:checked) {{ background: #e6f4ef; }}
.live td:has([type="checkbox"]:not(:checked)) {{ background: #f7e3ef; }}
.live button {{ min-height: 28px; min-width: 5em; margin-right: 6px; }}
.live :is(output, form, table) {{ color: black; font-variant-numeric: tabular-nums; }}
.live output {{ display: block; }}
.live .said {{ font-weight: bold; }}
.live figcaption {{ text-align: left; margin-top: 4px; }}
.live table {{ display: inline-table !important; width: auto; margin: 0 18px 6px 0; border-collapse: collapse; }}
.live table caption {{ caption-side: top; color: black; padding: 0; }}
.live table :is(td, th) {{ padding: 3px 8px; text-align: right; color: black; border: 0; }}
@media print {{ .live form {{ display: none !important; }} }}
</style>
<div class="drawing" role="img" aria-label="{alt}">
{drawings}
</div>
{parts}
<form hidden autocomplete="off">
{controls}
<div><button type="button" class="play">Play</button><button type="reset">Reset</button></div>
</form>
<output class="said">{said}</output>
{caption}
<script>
{script}
mf.live(document.currentScript.parentElement, "{kind}", {{
{config}
}});
</script></figure>"""
