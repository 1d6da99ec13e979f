"""Long runs: jobs in processes of their own, unfinished ones kept, results in one JSON file. Introduced in notebook 05."""

import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import torch

from mnistlib.files import DataError, atomic_write, check_writable


def run_jobs(jobs: dict[tuple, Callable], workers: int) -> Iterator[tuple[tuple, object]]:
    """Call each job; yield its key and result as they end. With several workers in processes, each with its share of threads."""
    if workers == 1:
        yield from ((key, job()) for key, job in jobs.items())
        return
    threads = max(1, torch.get_num_threads() // workers)
    spawn = multiprocessing.get_context("spawn")  # a forked process would inherit torch's threads, and hang
    with ProcessPoolExecutor(workers, spawn, initializer=_begin, initargs=(threads,)) as pool:
        running = {pool.submit(job): key for key, job in jobs.items()}
        try:
            yield from ((running[future], future.result()) for future in as_completed(running))
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(threads: int) -> None:
    """In a new process: take its share of the threads, and end when the program that started it was killed."""
    torch.set_num_threads(threads)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


@contextmanager
def unfinished_beside(out, needed: bool = True):
    """A folder beside a file of results for checkpoints of unfinished runs, removed when all are done; None without a file."""
    if out is None:
        yield None
        return
    folder = Path(out).with_name(Path(out).name + ".unfinished")
    if needed:
        check_writable(folder)
    try:
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def read_results(path: Path, check: Callable[[dict], None] = lambda results: None) -> dict:
    """What a file of results holds. ``check`` raises ValueError when it cannot be true.

    Raises `DataError` when the file is none of results, or damaged.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not an object")
        check(content)
        return content
    except (OSError, ValueError, RecursionError) as error:  # RecursionError: brackets in brackets, by the thousand
        raise DataError(f"{path} is no file of results, or it is damaged ({error}). Move it away, and it is made anew.") from None


def save_results(out, results: dict) -> None:
    """Write results to a JSON file, whole or not at all; nothing when ``out`` is None."""
    if out is not None:
        with atomic_write(out) as file:
            file.write((json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())


def is_number(value) -> bool:
    """Whether a value of a results file can be a count, a share, a loss or a time."""
    return type(value) in (int, float) and 0 <= value < 1e15  # neither NaN nor infinite
