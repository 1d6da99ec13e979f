"""What makes a plain ``pytest --nbval notebooks/`` strict and repeatable, from any folder and on a busy machine."""

import functools
import os
from pathlib import Path

ROOT = Path(__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"
LONGEST = ("03_", "06_", "05_", "07_", "04_", "09_", "08_", "01_")  # notebooks, which begin first
STARTS = 3


def pytest_configure(config):
    if "PYTEST_XDIST_WORKER" in os.environ:  # several threads of each of several workers would wait for the same cores
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # a thread that spins takes a core that another program could use
    if hasattr(config.option, "nbval_current_env"):  # nbval is installed
        import nbval.kernel

        nbval.kernel.start_new_kernel = started_again(nbval.kernel.start_new_kernel, dict(os.environ))
        config.option.nbval_current_env = True  # the kernel is the Python that runs pytest
        config.option.nbval_kernel_startup_timeout = 300
        config.option.nbval_sanitize_with = config.option.nbval_sanitize_with or str(
            ROOT / "notebooks" / "sanitize.cfg"
        )


def started_again(start, environment):
    """nbval's function that starts a kernel, which tries again when the kernel died at once.

    jupyter_client picks free ports, and the kernel takes them half a second later. When two workers start a kernel at
    the same moment, the other may take one first, about once in a few hundred times (jupyter_client's issue 154).
    Each kernel gets the environment that pytest was started with, whatever tests have done to theirs: Dask, for
    example, sets OMP_NUM_THREADS.
    """

    @functools.wraps(start)
    def start_new_kernel(*arguments, **options):
        for _ in range(STARTS - 1):
            try:
                return start(*arguments, env=environment, **options)
            except RuntimeError as error:
                if "died" not in str(error):
                    raise
        return start(*arguments, env=environment, **options)

    return start_new_kernel


def pytest_collection_modifyitems(items):
    """Long notebooks first, so that no worker is left alone with one at the end."""
    items.sort(
        key=lambda item: next(
            (i for i, name in enumerate(LONGEST) if item.path.match(f"notebooks/{name}*")), len(LONGEST)
        )
    )


def pytest_itemcollected(item):
    """Leave two things out of every comparison: stderr, and progress bars, which no page stores.

    Everything else that a code cell shows is compared with what the notebook stores.
    """
    if type(item).__name__ == "IPyNbCell":
        item.output_timeout = 120  # seconds; nbval's 5 are too few on a busy machine
        item.parent.skip_compare = (*item.parent.skip_compare, "stderr")
        compare = item.compare_outputs
        item.compare_outputs = lambda new, stored, *more: compare(_without_bars(new), _without_bars(stored), *more)


def _without_bars(outputs):
    return [output for output in outputs if WIDGET not in output.get("data", {})]
