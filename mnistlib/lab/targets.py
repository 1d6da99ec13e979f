"""Check the end at the beginning: can a file be written where a long computation will put its result?"""

import os
from pathlib import Path

from mnistlib.base.files import DataError, check_writable


def check_target(path) -> Path:
    """Return ``path`` as a Path, and raise `DataError` unless a file could be written there now."""
    path, why = Path(path), None
    try:
        os.stat(path)  # raises for a name that is too long, or contains a null character
        if not path.is_file():
            why = "it is a folder" if path.is_dir() else "it is not a regular file"
        elif not os.access(path, os.W_OK):
            why = "it is write-protected"
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
    if why:
        raise DataError(f"cannot write {path}: {why}. Give the path of a file that can be written.")
    check_writable(path.parent)
    return path
