"""The checks of the exercises, a file for each notebook: the files hold the answers. Introduced in notebook 00."""

from importlib import import_module
from pathlib import Path

for _file in sorted(Path(__file__).parent.glob("nb[0-9][0-9]_*.py")):
    _module = vars(import_module(f"{__name__}.{_file.stem}"))
    globals().update({name: check for name, check in _module.items() if name.startswith("check_")})
