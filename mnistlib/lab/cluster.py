"""Tasks of a sweep on an existing Dask cluster."""

import asyncio
import contextlib
import copy
import os
import threading
import warnings
from collections.abc import Iterator

TIMEOUT = 30  # seconds for a cluster to answer, and to have a worker
_one_at_a_time = threading.Lock()


def run_on_cluster(train_and_measure, tasks: list[tuple], scheduler: str) -> Iterator[list[dict]]:
    """Yield what ``train_and_measure(recipe, runs, dataset)`` returns for each task, as soon as it is there.

    The third item of a task is its dataset. Raises ValueError when no cluster answers, or none of its workers.
    """
    environment = dict(os.environ)
    try:
        import distributed
    except ImportError:
        raise ValueError("a scheduler needs the package distributed: pip install -e '.[cluster]'") from None
    finally:  # Dask sets OMP_NUM_THREADS=1 for its own workers, but also for this process
        os.environ.clear()
        os.environ.update(environment)

    async def answers():
        comm = await asyncio.wait_for(distributed.comm.connect(scheduler), TIMEOUT)
        await comm.close()

    with contextlib.ExitStack() as stack:
        try:
            distributed.utils.LoopRunner().run_sync(answers)  # Client would wait forever for a program that is silent
            client = stack.enter_context(distributed.Client(scheduler, timeout=TIMEOUT, set_as_default=False))
            client.wait_for_workers(1, timeout=TIMEOUT)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"no Dask cluster answers at {scheduler!r} ({error}). Start one, or leave it out."
            ) from None
        # The images are the result of a task: when the worker that holds them dies, Dask repeats that task.
        with warnings.catch_warnings(action="ignore"):  # that the images are large
            loaded = {task[2].name: task[2] for task in tasks}
            images = {name: client.submit(copy.copy, dataset, pure=False) for name, dataset in loaded.items()}
        futures = [
            client.submit(_alone, train_and_measure, *task[:2], images[task[2].name], pure=False) for task in tasks
        ]
        for future in distributed.as_completed(futures, loop=client.loop):
            yield future.result()


def _alone(train_and_measure, *task) -> list[dict]:
    """One task at a time in a worker: its threads share PyTorch's random numbers, and two tasks would mix theirs."""
    with _one_at_a_time:
        return train_and_measure(*task)
