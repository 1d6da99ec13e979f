"""Build the course's website in build/site: ``python tools/website.py``. Nothing is executed and nothing is fetched.

The pages are README.md, docs/ and the notebooks with their stored outputs. Sphinx checks every link between them; a
link to another file of the repository leads to GitHub. site/requirements.txt lists what this needs.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from notebooks import ROOT, lessons, repository, solutions

GLOSSARY = ROOT / "notebooks" / "GLOSSARY.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = ROOT / "build" / "site"
WORK = ROOT / "build" / "site-work"


def page(path: Path) -> str:
    """A text of the repository as a page: without badges, and with links that lead somewhere from there."""
    text = re.sub(r"\[!\[([^\]]+)\]\(https?:[^)]*\)\]", r"[\1]", path.read_text("utf-8"))  # no picture from elsewhere
    pages = {ROOT / "README.md", GLOSSARY, *DOCS, *lessons(), *solutions()}

    def link(found: re.Match) -> str:
        words, address = found.groups()
        target = (path.parent / address.partition("#")[0]).resolve()
        if re.match(r"\w+:|#", address) or target in pages or target.is_relative_to(ROOT / "pictures"):
            return f"[{words}]({address.replace('README.md', 'index.md')})"
        if target.is_relative_to(ROOT / "mnistlib" / "live"):
            return f'<a href="{"" if path.parent == ROOT else "../"}live/index.html">{words}</a>'
        if not target.exists():
            raise SystemExit(f"error: {path.name} links to {address}, which does not exist.")
        kind = "tree" if target.is_dir() else "blob"
        return f"[{words}]({repository()}/{kind}/main/{target.relative_to(ROOT).as_posix()})" if repository() else words

    return re.sub(r"\[((?:!\[[^\]]*\]\([^)]*\)|[^\[\]])*)\]\(([^)\s]+)\)", link, text)


def build() -> None:
    """Write the pages; any warning of Sphinx, such as a link that leads nowhere, is an error."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.rmtree(WORK, ignore_errors=True)
    source = WORK / "source"
    shutil.copytree(ROOT / "notebooks", source / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(ROOT / "pictures", source / "pictures")
    menus = ""
    for caption, paths in {"Notebooks": [*lessons(), GLOSSARY], "More": DOCS, "Solutions": solutions()}.items():
        names = "\n".join(path.relative_to(ROOT).as_posix() for path in paths)
        menus += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}\n```\n" if names else ""
    for path in DOCS:
        (source / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        (source / path.relative_to(ROOT)).write_text(page(path), "utf-8")
    (source / "index.md").write_text(page(ROOT / "README.md") + menus, "utf-8")
    options = ["--quiet", "--nitpicky", "--fail-on-warning", "--conf-dir", "site", "--doctree-dir", WORK / "doctrees"]
    if subprocess.run([sys.executable, "-m", "sphinx", *options, source, PAGES], cwd=ROOT).returncode:
        raise SystemExit("error: the website was not built; the lines above say why.")
    subprocess.run([sys.executable, "site/live/publish.py", PAGES / "live"], cwd=ROOT, check=True)


if __name__ == "__main__":
    build()
    print(f"{len(list(PAGES.rglob('*.html')))} pages; the first is {(PAGES / 'index.html').relative_to(ROOT)}")
