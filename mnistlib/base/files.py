"""Where files live, and how to write a file so that nobody ever sees half of it."""

import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs


class DataError(RuntimeError):
    """A file cannot be found, read or written. The message says what was tried and what to do."""


def data_folder() -> Path:
    """Return the folder for downloaded data: ``$MNISTLIB_DATA``, or else the user's cache. It need not exist yet."""
    try:
        default = platformdirs.user_cache_dir("mnistlib", appauthor=False)
        folder = Path(os.environ.get("MNISTLIB_DATA") or default).expanduser()
    except RuntimeError as error:  # ~nosuchuser, or no home folder at all
        raise DataError(f"the data folder cannot be found ({error}). Set MNISTLIB_DATA to a folder.") from None
    if os.path.exists(folder) and not os.path.isdir(folder):  # unlike Path's methods, these never raise
        raise DataError(f"the data folder {folder} is not a folder. Move it away, or set MNISTLIB_DATA to a folder.")
    return folder


def check_target(path) -> Path:
    """Return ``path`` as a Path, and raise `DataError` unless a file could be written there now."""
    with suppress(TrialEnds), atomic_write(path) as file:
        os.write(file.fileno(), b"test")
        os.fsync(file.fileno())  # a full disk refuses one or the other
        raise TrialEnds
    return Path(path)


class TrialEnds(Exception):
    """Ends a block of `atomic_write` without a change of the file."""


@contextmanager
def atomic_write(path):
    """Open a temporary binary file beside ``path``, and rename it to ``path`` when the block ends without an error.

    Readers see the old file or the complete new one, never a part. A symbolic link is followed, and an existing file
    keeps its mode. Raises `DataError` when the file cannot be written.
    """
    path, temporary, mode = Path(os.path.realpath(path)), None, stat.S_IFREG | 0o644
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            mode = os.stat(path).st_mode  # raises another error for a name that is too long
            if not stat.S_ISREG(mode) or not os.access(path, os.W_OK):
                why = "it is a folder, write-protected, or not a regular file"
                raise DataError(f"cannot write {path}: {why}. Give the path of a file that can be written.")
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, path)
    except OSError as error:
        remedy = f"Make room and permit writing in {path.parent}, or choose another place (for data: MNISTLIB_DATA)."
        raise DataError(f"cannot write {path}: {error.strerror or error}. {remedy}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)  # it is already gone when all went well
