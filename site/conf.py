"""Sphinx's settings for the course's website; `make site` builds it with tools/website.py."""

from myst_nb.core.render import NbElementRenderer

project = html_title = "MNIST and LeNet-5"
language = "en"

extensions = ["myst_nb"]
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


def setup(app):
    """Give each picture its alternative text: of an output's metadata myst-nb takes width and height alone."""
    plain = NbElementRenderer.render_image

    def render_image(self, data):
        (image,) = plain(self, data)
        image["alt"] = data.output_metadata.get(data.mime_type, {}).get("alt", "")
        return [image]

    NbElementRenderer.render_image = render_image
