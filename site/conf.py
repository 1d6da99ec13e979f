"""Sphinx's settings for the course's website; `make site` builds it with tools/website.py."""

from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from myst_nb.core.render import NbElementRenderer

project = html_title = "MNIST and LeNet-5"
language = "en"

extensions = ["myst_nb"]
myst_enable_extensions = ["dollarmath", "amsmath"]
html_math_renderer = "mathml"  # browsers draw it themselves, without a script
nb_execution_mode = "off"  # the pages show what the notebooks have stored
nb_merge_streams = True
smartquotes = False  # the text as it is written
myst_heading_anchors = 3

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["course.css"]
html_js_files = [("course.js", {"defer": "defer"})]
html_use_index = False
html_copy_source = False
html_show_copyright = False

FIXES = {  # what axe-core finds in the theme's own pages
    '<p class="caption" role="heading">': '<p class="caption">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="The course">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="This page">',
    '<div id="search-results">': '<h1>Search</h1>\n<div id="search-results">',
}


def setup(app):
    """Give each picture its alternative text: of an output's metadata myst-nb takes width and height alone."""
    plain = NbElementRenderer.render_image

    def render_image(self, data):
        (image,) = plain(self, data)
        image["alt"] = data.output_metadata.get(data.mime_type, {}).get("alt", "")
        return [image]

    NbElementRenderer.render_image = render_image
    app.add_html_math_renderer("mathml", mathml("inline"), mathml("block"))
    app.connect("source-read", home)
    app.connect("build-finished", finish)


def home(app, name, source):
    """Let links to the README lead to the first page, which shows it."""
    source[0] = source[0].replace("(../README.md)", "(../index.md)")


def mathml(display):
    """Return what Sphinx calls for a formula: it is written as MathML."""

    def visit(self, node):
        self.body.append(convert(node.astext(), display=display))
        raise nodes.SkipNode

    return visit, None


def finish(app, error):
    """Mend the theme's pages."""
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text("utf-8")
        for theirs, ours in FIXES.items():
            text = text.replace(theirs, ours)
        path.write_text(text, "utf-8", newline="\n")
