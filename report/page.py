"""How a page is written: formulas, figures, roles, and the single page that becomes the PDF."""

import json
import re
from pathlib import Path

import myst_nb.sphinx_
import numpy as np
from docutils import nodes
from latex2mathml.converter import convert
from matplotlib.image import imread
from myst_nb.core.render import NbElementRenderer

# Where the converter needs other LaTeX: the bars of a norm do not grow, a minimum's range is below.
SPELLINGS = {r"\lVert": r"\|", r"\rVert": r"\|", r"\min_": r"\min\limits_"}

# Where a formula may go on in the next line: browsers do not break MathML.
BREAKS = r"(?<=\\qquad)|(?=\\;=\\;)|(?<=\+ )(?=\(|w \\bigl)"

COURSE_PAGE = "course-4.1"  # 4.1 executed on the course's ratings; not everybody has them


def write_inline_formula(self, node):
    self.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


def write_display_formula(self, node):
    """The formula as MathML, which browsers show without a script, and its number from \\tag."""
    latex = node.astext()
    for spelling, converted in SPELLINGS.items():
        latex = latex.replace(spelling, converted)
    number = ""
    if tag := re.search(r"\\tag\{(.*?)\}", latex):
        number = f'<span class="eqno">({tag[1]})</span>'
        latex = latex.replace(tag[0], "")
    parts = "".join(convert(part, display="block") for part in re.split(BREAKS, latex))
    self.body.append(f'<div class="equation"><div class="parts">{parts}</div>{number}</div>')
    raise nodes.SkipNode


class Renderer(NbElementRenderer):
    """MyST-NB's renderer, which takes a figure's alternative text from its cell's metadata only."""

    def render_image(self, data):
        """The figure with the text that the cell computed for it and stored with the output."""
        [image] = super().render_image(data)
        image["alt"] = data.output_metadata.get(data.mime_type, {}).get("alt", "")
        return [image]


def entitle_course_page(app, docname, source):
    """Give 4.1 on the course's ratings a title of its own, and their folder without its place."""
    if docname == COURSE_PAGE:
        path = json.loads(source[0])["metadata"]["papermill"]["parameters"]["path"]
        text = source[0].replace(path, Path(path).name)
        title = "# 4.1 on the course's ratings"
        source[0] = re.sub(r"# 4\.1 [\w ]+", title, text, count=1)


def describe_images(app, doctree):
    """Show figures at their own size, stored with two pixels for one of the page; tell plots."""
    for image in doctree.findall(nodes.image):
        if image["uri"].endswith(".png"):
            pixels = imread(app.env.relfn2path(image["uri"])[1])
            image["width"] = f"{pixels.shape[1] // 2}px"
            if np.mean(pixels == 1) > 0.5:  # more white than a photograph has
                image["classes"].append("plot")


def drop_launch_buttons(app, pagename, templatename, context, doctree):
    """Drop the buttons for Binder and Colab from the page whose notebook they do not have."""
    if pagename == COURSE_PAGE:
        buttons = context["header_buttons"]
        buttons[:] = [button for button in buttons if button["label"] != "launch-buttons"]


def open_with_figure(app, doctree):
    """Lift what the cell tagged "opening" shows to below the page's first sentence."""
    for cell in list(doctree.findall(nodes.container)):
        if "tag_opening" in cell["classes"]:
            section = next(doctree.findall(nodes.section))
            output = next(part for part in cell if "cell_output" in part["classes"])
            cell.remove(output)
            section.insert(2, output)


def drop_invalid_roles(app, pagename, templatename, context, doctree):
    """Drop roles and a label of docutils and MyST-NB to which the checker axe-core objects."""
    invalid = r' role="(doc-biblioentry|doc-backlink|list)"| aria-label="Toggle hidden content"'
    context["body"] = re.sub(invalid, "", context.get("body", ""))


def make_single_page(app, pagename, templatename, context, doctree):
    """For the PDF: links within the page, no name twice, and a table of contents."""
    if app.builder.name != "singlehtml":
        return
    context["sidebars"] = []  # on paper not shown; they lead to pages that are not there
    context["toc"] = ""
    parts = re.split(r'(?=<span id="document-)', context["body"])
    course = f'<span id="document-{COURSE_PAGE}"'  # not everybody has it, so it is no part of it
    body = "".join(part for part in parts if not part.startswith(course))
    body = re.sub(r'<a class="headerlink".*?</a>', "", body)
    chapter = "|".join(re.findall(r'<span id="document-([\w.-]+)"', body))
    body = re.sub(rf'href="(?:(?:{chapter})\.html|#document-(?:{chapter}))#', 'href="#', body)
    body = re.sub(rf'href="({chapter})\.html"', r'href="#document-\1"', body)
    inside = rf"#(?!document-)|#document-(?:{chapter})\"|https?:"
    body = re.sub(r"<pre>(?=(?:(?!</pre>)[^\n]*\n){30})", '<pre class="long">', body)
    cover, *chapters = re.split(r'(?=<span id="document-)', body)
    contents = ""
    for number, chapter in enumerate(chapters, start=1):
        chapter = re.sub(r'(<section[^>]* id=")', rf"\g<1>chapter-{number}-", chapter)
        chapters[number - 1] = chapter
        contents += list_contents(chapter)
    toctree = '<div class="toctree-wrapper'
    cover = cover.replace(toctree, f'<ul class="contents">{contents}</ul>{toctree}', 1)
    body = cover + context.pop("theme_extra_footer") + "".join(chapters)
    # No other page or file is beside the PDF.
    outside = rf'<a [^>]*href="(?!{inside})[^>]*>(.*?)</a>'
    context["body"] = re.sub(outside, r"\1", body, flags=re.DOTALL)


def list_contents(chapter):
    """A chapter's entry in the table of contents: its title, and its sections below."""
    headings = re.findall(r'<section[^>]* id="([^"]+)">\s*<h[34]>(.*?)</h', chapter)
    links = [f'<a href="#{name}">{title}</a><span class="page"></span>' for name, title in headings]
    sections = "".join(f"<li>{link}</li>" for link in links[1:])
    return f"<li>{links[0]}<ul>{sections}</ul></li>"


def keep_docstring(app, what, name, obj, options, lines):
    """Show a docstring as `help` prints it: its formulas and tables are plain text."""
    lines[:] = [".. code-block:: text", "", *("   " + line for line in lines)]


def setup(app):
    # MyST-NB looks renderers up among the entry points of installed packages; this is not one.
    myst_nb.sphinx_.load_renderer = lambda name: Renderer
    app.add_html_math_renderer(
        "mathml", (write_inline_formula, None), (write_display_formula, None)
    )
    app.connect("autodoc-process-docstring", keep_docstring)
    app.connect("source-read", entitle_course_page)
    app.connect("doctree-read", describe_images)
    app.connect("doctree-read", open_with_figure)
    app.connect("html-page-context", drop_launch_buttons, priority=900)  # after the theme's own
    app.connect("html-page-context", drop_invalid_roles)
    app.connect("html-page-context", make_single_page)
