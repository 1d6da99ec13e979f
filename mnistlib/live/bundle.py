"""The modules of the live page as one script, for a widget and for a page in one file."""

import re
from pathlib import Path

HERE = Path(__file__).parent
IMPORT = re.compile(r'^import [^;]*? from "\./(\w+\.js)";\n', re.M)
EXPORT = re.compile(r"^export (?!default)", re.M)


def bundle(name: str) -> str:
    """Return the script of a module and of all that it imports. No two of them may give a name to different things."""
    return "\n".join(EXPORT.sub("", IMPORT.sub("", text)) for text in modules(name).values())


def modules(name: str) -> dict[str, str]:
    """Return {name: text} of all modules that a module imports, those that are needed first, and of its own."""
    text, found = (HERE / name).read_text("utf-8"), {}
    for needed in IMPORT.findall(text):
        found |= modules(needed)
    return found | {name: text}
