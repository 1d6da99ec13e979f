"""``python -m mnistlib``: see `mnistlib.cli`."""

import os
import sys

if __name__ == "__main__":
    if "doctor" in sys.argv[1:2]:  # a file random.py in the working folder must not take the place of Python's own
        sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != os.getcwd()]
    from mnistlib.cli import main

    sys.exit(main())
