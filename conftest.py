"""What makes a plain ``pytest --nbval notebooks/`` strict and repeatable, from any folder."""

import functools
from pathlib import Path

WIDGET = "application/vnd.jupyter.widget-view+json"
STARTS = 3


def pytest_configure(config):
    if hasattr(config.option, "nbval_current_env"):  # nbval is installed
        import nbval.kernel

        nbval.kernel.start_new_kernel = started_again(nbval.kernel.start_new_kernel)
        config.option.nbval_current_env = True  # the kernel is the Python that runs pytest
        config.option.nbval_sanitize_with = config.option.nbval_sanitize_with or str(
            Path(__file__).parent / "notebooks" / "sanitize.cfg"
        )


def started_again(start):
    """nbval's function that starts a kernel, called again when the kernel died at once.

    jupyter_client picks free ports, lets them go, and the kernel takes them half a second later. When two runs start a kernel at
    the same moment (``-n 2``), another may take one first, about once in a few hundred times (jupyter_client's issue 154).
    """

    @functools.wraps(start)
    def start_new_kernel(*arguments, **options):
        for _ in range(STARTS - 1):
            try:
                return start(*arguments, **options)
            except RuntimeError as error:
                if "died" not in str(error):
                    raise
        return start(*arguments, **options)

    return start_new_kernel


def pytest_itemcollected(item):
    """Leave two things out of every comparison: stderr, and progress bars, which no page stores.

    Everything else that a code cell shows is compared with what the notebook stores.
    """
    if type(item).__name__ == "IPyNbCell":
        item.parent.skip_compare = (*item.parent.skip_compare, "stderr")
        compare = item.compare_outputs
        item.compare_outputs = lambda new, stored, *more: compare(_without_bars(new), _without_bars(stored), *more)


def _without_bars(outputs):
    return [output for output in outputs if WIDGET not in output.get("data", {})]
