"""What makes a plain ``pytest --nbval notebooks/`` strict and repeatable, from any folder."""

from pathlib import Path

WIDGET = "application/vnd.jupyter.widget-view+json"


def pytest_configure(config):
    if hasattr(config.option, "nbval_current_env"):  # nbval is installed
        config.option.nbval_current_env = True  # the kernel is the Python that runs pytest
        config.option.nbval_sanitize_with = config.option.nbval_sanitize_with or str(
            Path(__file__).parent / "notebooks" / "sanitize.cfg"
        )


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
