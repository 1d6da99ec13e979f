"""Check the end at the beginning: can a file be written where a long computation will put its result?"""

import os
import stat
from pathlib import Path

from mnistlib.files import DataError, check_writable


def check_target(path) -> Path:
    """Return ``path`` as a Path, and raise `DataError` unless a file could be written there now."""
    path = Path(path)
    if not path.name:
        raise DataError(f"{str(path)!r} does not name a file. Give the path of a file to write.")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except (OSError, ValueError) as error:  # a name that is too long, or contains a null character
        raise DataError(
            f"cannot write {path}: {getattr(error, 'strerror', None) or error}. Give another path."
        ) from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
        raise DataError(f"cannot write {path}: it is {kind}. Give the path of a file.")
    if os.path.lexists(path) and not os.access(path, os.W_OK):
        raise DataError(f"cannot write {path}: it is write-protected. Change its permissions, or give another path.")
    check_writable(path.parent)
    return path
