"""Make slides of the notebooks in build/slides: ``python site/slides.py [NOTEBOOK …]``. Nothing is executed or fetched.

Each notebook becomes one file, which needs no server and no internet: reveal.js, figures and formulas are in it.
The kind of a cell decides what a slide shows. A heading begins a slide; a prediction and a figure each have a slide of
their own; the first paragraph below a heading, key sentences in bold, lists, tables, formulas, short code and its
output stay; all other text goes to the speaker's notes (press S). Exercises and set-up cells are left out.
"""

import html
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import mistune
import nbformat
from latex2mathml.converter import convert
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

ROOT = Path(__file__).resolve().parent.parent
REVEAL = Path(find_spec("sphinx_revealjs").submodule_search_locations[0], "_static", "revealjs")  # it brings reveal.js
OUT = ROOT / "build" / "slides"
LEFT_OUT = r"header|setup|footer|exercises?\b.*|judgement.*"
LIST = r"[*|-] |\d\. |\|"  # how a list or a table begins
LINES = 15  # that fit on a slide
WIDTH = 78  # characters in a line
COLORS = HtmlFormatter(style="default", nobackground=True)
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{style}</style></head>
<body><div class="reveal"><div class="slides">{slides}</div></div>
<script>{script}</script>
<script>
const fit = ({{currentSlide: slide}}) => {{
  for (let size = 25; slide.scrollHeight > 690 && size > 8; size--) slide.style.fontSize = `${{size}}px`;
}};
Reveal.on("ready", fit);
Reveal.on("slidechanged", fit);
Reveal.initialize({{width: 1120, height: 700, margin: 0.03, hash: true, center: false, transition: "none",
  slideNumber: "c/t", plugins: [RevealNotes]}});
</script></body></html>
"""


class Renderer(mistune.HTMLRenderer):
    """Markdown as HTML, with formulas as MathML, which browsers show by themselves, and without links."""

    def link(self, text, url, title=None):
        return text


def formula(text, display):
    return convert(text, display="block" if display else "inline")


def with_formulas(markdown):
    markdown.inline.register("math", r"\$(?P<math_text>[^$\n]+)\$", inline_formula, before="link")
    markdown.renderer.register("math", lambda _, text: formula(text, False))


def inline_formula(inline, found, state):
    state.append_token({"type": "math", "raw": found["math_text"]})
    return found.end()


render = mistune.create_markdown(renderer=Renderer(escape=False), plugins=["table", with_formulas])


def parts(cells):
    """Yield (kind, HTML, lines that it takes) for all that stands in the cells."""
    for cell in cells:
        if re.fullmatch(LEFT_OUT, cell.id):
            continue
        if cell.cell_type == "markdown":
            yield from text_parts(re.sub(r"<details>.*?</details>", "", cell.source, flags=re.S))
        elif cell.cell_type == "code":
            source = cell.source.replace("\n\n\n", "\n\n")
            drawing = re.search(r"^assert|plots\.|axis\.|figure", source, re.M)
            hidden = "hide-input" in cell.metadata.get("tags", []) or drawing
            if not hidden and source.count("\n") < LINES - 3:
                yield "code", highlight(source, PythonLexer(), COLORS), source.count("\n") + 2
            for output in cell.outputs:
                yield from output_parts(output)


def text_parts(source):
    first, blocks = False, re.split(r"\n{2,}", source.strip())
    for block, following in zip(blocks, [*blocks[1:], ""], strict=True):
        if heading := re.match(r"#+ (.+)", block):
            first = True
            yield "heading", render(heading[1])[3:-5], 0
            block = block.partition("\n")[2]
        if not block.strip():
            continue
        if block.startswith("$$"):
            yield "formula", formula(block.strip("$ \n"), True), 3
        elif block.startswith("**Predict, then run.**"):
            yield "question", render(block.removeprefix("**Predict, then run.**")), LINES
        elif re.match(LIST, block):
            yield "text", render(block), sum(len(line) // WIDTH + 1.3 for line in block.split("\n"))
        elif first or block.startswith("**") or re.match(LIST, following):
            yield "text", render(block), len(block) / WIDTH + 1.5
            first = False
        else:
            yield "note", render(block), 0


def output_parts(output):
    data = output.get("data", {})
    if "image/png" in data:
        alt = html.escape(output.metadata.get("image/png", {}).get("alt", data.get("text/plain", "")))
        yield "figure", f'<img alt="{alt}" src="data:image/png;base64,{data["image/png"].strip()}">', LINES
    elif "text/html" in data:
        rows = 1.2 * data["text/html"].count("<tr")
        yield "output", f'<div style="font-size: {min(1, LINES / rows):.2f}em">{data["text/html"]}</div>', rows
    elif text := output.get("text") or data.get("text/plain"):
        yield "output", f"<pre>{html.escape(text)}</pre>", text.count("\n") + 1


def slides(cells):
    """Yield the HTML of each slide: parts follow one another as long as they fit."""
    heading, shown, notes, used = "", [], [], 0
    for kind, content, lines in [*parts(cells), ("heading", "", 0)]:
        if shown and (kind == "heading" or (lines and used + lines > LINES)):
            yield section(heading, shown, notes)
            shown, notes, used = [], [], 0
        if kind == "heading":
            heading = content
        elif kind == "note":
            notes.append(content)
        else:
            shown.append(f'<div class="{kind}">{"<h3>Predict</h3>" if kind == "question" else ""}{content}</div>')
            used += lines


def section(heading, shown, notes):
    told = f'<aside class="notes">{"".join(notes)}</aside>' if notes else ""
    return f"<section><h2>{heading}</h2>{''.join(shown)}{told}</section>"


def page(path):
    """A notebook's slides as one page of HTML."""
    notebook = nbformat.read(path, 4)
    title = next(cell.source for cell in notebook.cells if cell.source.startswith("# ")).split("\n")[0][2:]
    styles = [REVEAL / "dist" / "reset.css", REVEAL / "dist" / "reveal.css", ROOT / "site" / "slides.css"]
    scripts = [REVEAL / "dist" / "reveal.js", REVEAL / "plugin" / "notes" / "notes.js"]
    style, script = ("\n".join(file.read_text("utf-8") for file in files) for files in (styles, scripts))
    style += COLORS.get_style_defs(".highlight")
    return PAGE.format(title=title, style=style, script=script, slides="\n".join(slides(notebook.cells)))


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for path in map(Path, sys.argv[1:] or sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))):
        made = OUT / f"{path.stem}.html"
        made.write_text(page(path), "utf-8", newline="\n")
        print(made.relative_to(ROOT))
