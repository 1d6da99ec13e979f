"""Where files live, and how to write a file so that nobody ever sees half of it."""

import os
import stat
import tempfile
from contextlib import contextmanager
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


def check_writable(folder) -> None:
    """Create ``folder`` if needed, and raise `DataError` unless a file can be written in it."""
    with atomic_write(Path(folder) / ".mnistlib-test") as file:
        file.write(b"test")
    Path(folder, ".mnistlib-test").unlink(missing_ok=True)


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


@contextmanager
def atomic_write(path):
    """Open a temporary binary file beside ``path``, and rename it to ``path`` when the block ends without an error.

    Readers see the old file or the complete new one, never a part. A symbolic link is followed, and an existing file
    keeps its mode. Raises `DataError` when the file cannot be written.
    """
    path, temporary = Path(os.path.realpath(path)), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = os.stat(path).st_mode if os.path.exists(path) else stat.S_IFREG | 0o644
        if not stat.S_ISREG(mode):
            raise OSError(None, "it is not a regular file")
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
