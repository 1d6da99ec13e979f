"""Where files live, and how they are written so that nobody ever meets half a file."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path

import platformdirs


class DataError(RuntimeError):
    """Data or weights cannot be had; the message says what was tried and what to do."""


def data_folder() -> Path:
    """The folder for downloaded data: ``$MNISTLIB_DATA``, else the user's cache. It need not exist yet.

    Raises `DataError` when the path is there but is not a folder. Introduced in notebook 00.
    """
    folder = Path(os.environ.get("MNISTLIB_DATA") or platformdirs.user_cache_dir("mnistlib", appauthor=False)).expanduser()
    if os.path.exists(folder) and not os.path.isdir(folder):  # unlike Path's, these never raise
        raise DataError(
            f"the data folder {folder} is a file, and must be a folder. "
            "Remove that file, or set the environment variable MNISTLIB_DATA to a folder."
        )
    return folder


def check_writable(folder) -> None:
    """Make ``folder`` if need be, and raise `DataError` unless a file can be written in it."""
    with atomic_write(Path(folder) / ".mnistlib-test") as file:
        file.write(b"test")
    Path(folder, ".mnistlib-test").unlink(missing_ok=True)


@contextmanager
def atomic_write(path):
    """Open a temporary binary file beside ``path``; rename it to ``path`` when the block ends well.

    Readers see the old file or the whole new one, never a part, also when two programs write at
    once. When the block raises, ``path`` stays as it was and the temporary file is removed.
    """
    path, temporary = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}. Make room there and see that you may write to "
            f"{path.parent}, or choose another place (for data: set the environment variable MNISTLIB_DATA)."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)  # gone already when all went well
