"""How a page is written: formulas, figures, roles, and the single page that becomes the PDF."""

import re
import shutil
from pathlib import Path

import myst_nb.sphinx_
from docutils import nodes
from latex2mathml.converter import convert
from myst_nb.core.render import NbElementRenderer


def convert_formula(latex, display):
    """The formula as MathML, which browsers show without a script, and its number from \\tag."""
    tag = re.search(r"\\tag\{(.*?)\}", latex)
    formula = convert(latex.replace(tag[0], "") if tag else latex, display=display)
    bar = "<mo>&#x02016;</mo>"  # of a norm: it should not grow with what is beside it
    formula = formula.replace(bar, bar.replace("<mo>", '<mo stretchy="false">'))
    return formula, f'<span class="eqno">({tag[1]})</span>' if tag else ""


def write_inline_formula(self, node):
    self.body.append(convert_formula(node.astext(), "inline")[0])
    raise nodes.SkipNode


def write_display_formula(self, node):
    latex = node.astext().replace(r"\min_", r"\min\limits_")
    formula, number = convert_formula(latex, "block")
    self.body.append(f'<div class="equation">{formula}{number}</div>')
    raise nodes.SkipNode


class Renderer(NbElementRenderer):
    """MyST-NB's renderer, which takes a figure's alternative text from its cell's metadata only."""

    def render_image(self, data):
        """The figure with the text that the cell computed for it and stored with the output."""
        [image] = super().render_image(data)
        image["alt"] = data.output_metadata.get(data.mime_type, {}).get("alt", "")
        return [image]


def halve_image_width(app, doctree):
    """Show figures at their own size: they are stored with two pixels for one of the page."""
    for image in doctree.findall(nodes.image):
        if image["uri"].endswith(".png"):
            file = Path(app.env.relfn2path(image["uri"])[1])
            width = int.from_bytes(file.read_bytes()[16:20])  # from the PNG's header
            image["width"] = f"{width // 2}px"


def drop_invalid_roles(app, pagename, templatename, context, doctree):
    """Drop roles and labels of docutils and MyST-NB to which the checker axe-core objects."""
    for attribute in (
        ' aria-label="Toggle hidden content"',
        ' role="doc-biblioentry"',
        ' role="doc-backlink"',
        ' role="list"',
    ):
        context["body"] = context.get("body", "").replace(attribute, "")


def make_single_page(app, pagename, templatename, context, doctree):
    """For the PDF: links within the page, no name twice, and a table of contents."""
    if app.builder.name != "singlehtml":
        return
    body = re.sub(r'<a class="headerlink".*?</a>', "", context["body"])
    body = re.sub(r'href="[\w.-]+\.html#', 'href="#', body)
    body = re.sub(r'href="([\w.-]+)\.html"', r'href="#document-\1"', body)
    cover, *chapters = re.split(r'(?=<span id="document-)', body)
    entries = []
    for k, chapter in enumerate(chapters):
        chapter = re.sub(r'(<section[^>]* id=")', rf"\g<1>chapter-{k + 1}-", chapter)
        chapters[k] = chapter
        headings = re.findall(r'<section[^>]* id="([^"]+)">\s*<h[34]>(.*?)</h', chapter)
        first, *others = [f'<a href="#{name}">{title}</a>' for name, title in headings]
        sections = "".join(f"<li>{link}</li>" for link in others)
        entries.append(f"<li>{first}<ul>{sections}</ul></li>")
    contents = f'<ul class="contents">{"".join(entries)}</ul>'
    toctree = '<div class="toctree-wrapper'
    context["body"] = cover.replace(toctree, contents + toctree, 1) + "".join(chapters)


def keep_docstring(app, what, name, obj, options, lines):
    """Show a docstring as `help` prints it: its formulas and tables are plain text."""
    lines[:] = [".. code-block:: text", "", *("   " + line for line in lines)]


def drop_what_no_reader_needs(app, error):
    """The theme's source maps and translations, which are a third of the report."""
    static = Path(app.outdir) / "_static"
    for path in static.rglob("*.map"):
        path.unlink()
    shutil.rmtree(static / "locales", ignore_errors=True)


def setup(app):
    # MyST-NB looks renderers up among the entry points of installed packages; this is not one.
    myst_nb.sphinx_.load_renderer = lambda name: Renderer
    app.add_html_math_renderer(
        "mathml", (write_inline_formula, None), (write_display_formula, None)
    )
    app.connect("autodoc-process-docstring", keep_docstring)
    app.connect("doctree-read", halve_image_width)
    app.connect("html-page-context", drop_invalid_roles)
    app.connect("html-page-context", make_single_page)
    app.connect("build-finished", drop_what_no_reader_needs)
