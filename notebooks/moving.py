"""What moves: sliders that redraw a figure with Python, and players that need none."""

import asyncio
import base64
import hashlib
import html
import io
import json
import re

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, Markdown, display
from ipywidgets import Button, HBox, VBox
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.image import AxesImage

REST = 0.3  # seconds until a slider counts as having come to rest


def explore(draw, **sliders):
    """Show the sliders and what draw makes of their values, anew whenever one moves; and a button to reset them.

    draw(name=value, ...) returns a figure and its text for `show`, or Markdown text alone. The text is shown under
    the figure. A run that diverges shows its message. (Not ipywidgets' interact: it shows through an Output widget,
    on which nbclient at times hangs.)

    While a slider moves, the figure comes quickly: at half the resolution, with the margins of the figure before. When
    it has rested for a moment, it is rendered properly.
    """
    reset = Button(
        description="reset", tooltip="set all sliders to where they were at first"
    )
    display(VBox([*sliders.values(), HBox([reset])]))
    place = display(Markdown(""), display_id=True)
    first = {name: slider.value for name, slider in sliders.items()}
    pause = None  # until the figure is rendered properly
    positions = []

    def redraw(change=None):
        nonlocal pause
        if pause:
            pause.cancel()
        try:
            shown = draw(**{name: slider.value for name, slider in sliders.items()})
        except FloatingPointError as message:
            shown = f"**Stopped:** {message}"
        if isinstance(shown, str):
            place.update(Markdown(shown))
            return
        plt.close(shown[0])
        if change and len(positions) == len(shown[0].axes):
            place.update(_quick(*shown, positions))
            loop = asyncio.get_running_loop()
            pause = loop.call_later(REST, settle, *shown)
        else:
            settle(*shown)

    def settle(fig, alt):
        fig.set_layout_engine("constrained")
        place.update(_picture(fig, alt, scale=2))
        positions[:] = [ax.get_position(original=True) for ax in fig.axes]

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


def _quick(fig, alt, positions):
    """The figure without the search for its margins, which takes most of the time."""
    fig.set_layout_engine("none")
    for ax, position in zip(fig.axes, positions, strict=True):
        ax.set_position(position)
    return _picture(fig, alt, scale=1)


def _picture(fig, alt, scale):
    """The figure with its text beneath, at so many pixels to a pixel of the page."""
    width, height = (round(side * 100) for side in fig.get_size_inches())
    fig.set_dpi(100 * scale)
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    fig.set_dpi(100)
    return HTML(
        f'<figure style="margin: 0"><img src="{_data_uri(canvas.buffer_rgba())}" '
        f'alt="{html.escape(alt)}" width="{width}" height="{height}">'
        f'<figcaption role="status">{html.escape(alt)}</figcaption></figure>'
    )


def _data_uri(pixels):
    png = io.BytesIO()
    plt.imsave(png, np.asarray(pixels), pil_kwargs={"compress_level": 1})
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


# ----------------------------------------------------------------------- players
def player(fig, moving, captions, alt):
    """Show the figure with a slider and a button that play it, by mouse or keyboard, with no Python behind them.

    moving maps artists of the figure to their frames, one for each caption: a line to arrays of points (p, 2) in data
    coordinates, drawn as a line or as round markers, as the artist is; an image to arrays (rows, columns). They are
    drawn over the rest. Where nothing can move (on paper, or where scripts may not run) the last frame stands, and
    alt describes it.
    """
    for artist, frames in moving.items():
        if len(frames) != len(captions):
            raise ValueError(
                f"{artist} has {len(frames)} frames, but there are {len(captions)} captions"
            )
        artist.set_visible(False)
    fig.set_dpi(72)  # the unit of an SVG
    background = _svg(fig)
    layers, values = zip(*(_layer(*item) for item in moving.items()), strict=True)
    page = PLAYER.format(
        svg=background.replace("</svg>", "".join(layers) + "</svg>"),
        alt=html.escape(alt),
        width=round(fig.get_figwidth() * 100),
        last=len(captions) - 1,
        caption=html.escape(captions[-1]),
        captions=json.dumps(captions).replace("</", "<\\/"),
        values=json.dumps(values, separators=(",", ":")),
    )
    plt.close(fig)
    display({"text/html": page, "text/plain": alt}, raw=True)


def _svg(fig):
    """The figure as SVG, the same each time, and with nothing in it that would reach out into the page."""
    out = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "player"}):
        fig.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    drawing = out.getvalue().split("<defs>", 1)[1]  # after the style sheet
    drawing = drawing.split("</style>", 1)[1].split("</defs>", 1)[1]
    drawing = re.sub(r' id="[a-zA-Z0-9.]+_[0-9]+"', "", drawing)
    drawing = re.sub(r"\s*\n\s*", " ", drawing)
    own = hashlib.sha1(drawing.encode()).hexdigest()[
        :6
    ]  # names of glyphs, apart from other players' on the page
    drawing = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{own}-", drawing)
    return f'<svg viewBox="0 0 {fig.bbox.width:g} {fig.bbox.height:g}">{drawing}'


def _layer(artist, frames):
    """One moving artist: its element as in the last frame, and the values of one attribute of it, frame by frame."""
    box, height = artist.axes.bbox, artist.figure.bbox.height
    corner = f"{box.x0:.1f} {height - box.y1:.1f} {box.width:.1f} {box.height:.1f}"
    x, y, w, h = corner.split()
    place = f'x="{x}" y="{y}" width="{w}" height="{h}"'
    if isinstance(artist, AxesImage):
        values = [_data_uri(artist.to_rgba(frame, bytes=True)) for frame in frames]
        element = f'<image {place} preserveAspectRatio="none" href="{values[-1]}"'
    else:
        dots = artist.get_linestyle() == "None"
        width = artist.get_markersize() if dots else artist.get_linewidth()
        values = [_path(artist, points, dots) for points in frames]
        element = (
            f'<path fill="none" stroke="{to_hex(artist.get_color())}" '
            f'stroke-width="{width:g}" stroke-opacity="{artist.get_alpha() or 1:g}" '
            f'stroke-linecap="round" stroke-linejoin="round" d="{values[-1]}"'
        )
    return f'<svg {place} viewBox="{corner}">{element} class="moving"/></svg>', values


def _path(artist, points, dots):
    """The points as an SVG path, to a tenth of a point; a marker is a line of hardly any length with round ends."""
    pixels = artist.axes.transData.transform(np.reshape(points, (-1, 2)))
    height = artist.figure.bbox.height
    steps = [f"{x:.1f} {height - y:.1f}" for x, y in pixels]
    return "".join(f"M{s}h.01" for s in steps) if dots else "M" + "L".join(steps)


PLAYER = """<figure class="player" style="margin: 0; max-width: {width}px">
<div role="img" aria-label="{alt}" style="background: white; border-radius: 6px">
{svg}
</div><div class="player-controls" style="display: none; gap: 1em; align-items: center">
<button type="button" data-lm-suppress-shortcuts="true" style="min-width: 5em">Play</button>
<input type="range" data-lm-suppress-shortcuts="true" min="0" max="{last}" value="{last}" aria-label="frame" style="flex: 1">
</div><figcaption role="status">{caption}</figcaption>
<script>
{{
  const player = document.currentScript.parentElement;
  const captions = {captions};
  const values = {values};
  const [controls, caption] = player.querySelectorAll(".player-controls, figcaption");
  const [button, slider] = controls.children;
  const moving = player.querySelectorAll(".moving");
  let timer = null;
  const show = () => {{
    const k = slider.value;
    moving.forEach((element, n) => element.setAttribute(element.href ? "href" : "d", values[n][k]));
    caption.textContent = captions[k];
    slider.setAttribute("aria-valuetext", captions[k]);
  }};
  const stop = () => {{
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
    caption.ariaLive = "polite";
  }};
  const next = () => {{
    slider.value++;
    show();
    if (slider.value === slider.max) stop();
  }};
  button.onclick = () => {{
    if (timer) return stop();
    if (slider.value === slider.max) slider.value = 0;
    show();
    button.textContent = "Pause";
    caption.ariaLive = "off";
    timer = setInterval(next, Math.max(50, 6000 / captions.length));
  }};
  slider.oninput = () => {{ stop(); show(); }};
  controls.style.display = "flex";
  show();
}}
</script></figure>"""
