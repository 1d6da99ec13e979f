"""Build the course's website in build/site and check its pages: ``python tools/website.py [--axe AXE.MIN.JS]``.

The pages are the README and the notebooks, in their reading order, with the outputs that they have
stored. Nothing is executed, and nothing is fetched. site/requirements.txt lists what it needs.
With --axe the pages are examined in a browser too (tools/axe.py).
"""

import argparse
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also when this file is loaded by its path

import axe

from notebooks import README, ROOT, course, repository, solutions

GLOSSARY = ROOT / "notebooks" / "GLOSSARY.md"
PAGES = ROOT / "build" / "site"
WORK = ROOT / "build" / "site-work"
# What axe-core finds in the theme's own pages, and its mend.
MENDS = {
    '<p class="caption" role="heading">': '<p class="caption">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="The course">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="This page">',
    '<div id="search-results">': '<h1>Search</h1>\n<div id="search-results">',
}


def index() -> str:
    """The start page: the README, with a menu of all notebooks, and links to the repository's other files."""
    text = re.sub(r"\[!\[Open \S+ in Colab\]\([^)]*\)\]", "[Colab]", README.read_text("utf-8"))  # no picture from elsewhere
    pages = {path.relative_to(ROOT).as_posix() for path in [*course(), *solutions(), GLOSSARY]}

    def target(found: re.Match) -> str:
        link = found[1]
        if "://" in link or link.startswith("#") or link in pages or link.startswith("pictures/"):
            return found[0]
        file = ROOT / link.partition("#")[0]
        if not file.exists():
            raise SystemExit(f"error: README.md links to {link}, which does not exist.")
        return f"]({repository()}/{'tree' if file.is_dir() else 'blob'}/main/{link})"

    text = re.sub(r"\]\(([^)\s]+)\)", target, text)
    for caption, paths in (("Notebooks", [*course(), GLOSSARY]), ("Solutions", solutions())):
        names = "\n".join(path.relative_to(ROOT).as_posix() for path in paths)
        text += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}\n```\n" if names else ""
    return text


def build() -> None:
    """Write the pages; any warning of Sphinx, such as a link that leads nowhere, is an error."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.rmtree(WORK, ignore_errors=True)
    source = WORK / "source"
    shutil.copytree(ROOT / "pictures", source / "pictures")
    for path in [*course(), *solutions(), GLOSSARY]:
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    (source / "index.md").write_text(index(), "utf-8")
    options = ["--quiet", "--nitpicky", "--fail-on-warning", "--conf-dir", "site", "--doctree-dir", WORK / "doctrees"]
    if subprocess.run([sys.executable, "-m", "sphinx", *options, source, PAGES], cwd=ROOT).returncode:
        raise SystemExit("error: the website was not built; the lines above say why.")
    for path in PAGES.rglob("*.html"):
        text = path.read_text("utf-8")
        for theirs, ours in MENDS.items():
            text = text.replace(theirs, ours)
        path.write_text(text, "utf-8", newline="\n")


class Page(HTMLParser):
    """What the checks need of one page."""

    def __init__(self, text: str):
        super().__init__()
        self.language, self.title, self.in_title = None, "", False
        self.headings, self.links, self.parts, self.images, self.names = [], [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "html":
            self.language = found.get("lang")
        elif tag == "title":
            self.in_title = not self.title  # drawings have titles too; the first is the page's
        elif re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        elif tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "img":
            self.images.append((found.get("src", ""), found.get("alt") or ""))
            self.parts.append(found.get("src", ""))
        elif tag == "script" and "src" in found:
            self.parts.append(found["src"])
        elif tag == "link" and found.get("rel") == "stylesheet":
            self.parts.append(found["href"])

    def handle_endtag(self, tag):
        self.in_title = self.in_title and tag != "title"

    def handle_data(self, data):
        self.title += data if self.in_title else ""


def faults(folder: Path) -> list[str]:
    """Everything that is wrong with the pages in a folder, one line each."""
    pages = {path.resolve(): Page(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = [] if pages else ["there is no page"]
    for path, page in pages.items():
        wrong = []
        if not page.language:
            wrong.append("no language")
        if not page.title.strip():
            wrong.append("no title")
        if page.headings.count(1) != 1:
            wrong.append(f"{page.headings.count(1)} headings of the first level, not one")
        for above, below in zip([0, *page.headings], page.headings, strict=False):
            if below > above + 1:
                wrong.append(f"a heading of level {below} follows one of level {above}")
        for source, alternative in page.images:
            if not alternative.strip() or alternative == source:
                wrong.append(f"the picture {source} has no alternative text")
        wrong += [f"{part} is fetched from elsewhere" for part in page.parts if urlsplit(part).netloc]
        for link in [*page.links, *page.parts]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            name = unquote(parts.fragment)
            if not target.is_file() or folder.resolve() not in target.parents:
                wrong.append(f"the link {link} leads nowhere")
            elif name and target in pages and name not in pages[target].names:
                wrong.append(f"the link {link} leads to no place of that page")
        found += [f"{path.relative_to(folder.resolve()).as_posix()}: {fault}" for fault in wrong]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axe", metavar="AXE.MIN.JS", type=Path, help="axe-core's file: examine the pages in a browser too")
    options = parser.parse_args()
    build()
    wrong = faults(PAGES)
    if options.axe:
        wrong += axe.violations(PAGES, options.axe)
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        raise SystemExit(f"error: {len(wrong)} faults, listed above.")
    pages = len(list(PAGES.rglob("*.html")))
    print(f"{pages} pages without a fault; the first is {(PAGES / 'index.html').relative_to(ROOT)}")


if __name__ == "__main__":
    main()
