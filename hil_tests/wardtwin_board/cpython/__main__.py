"""`python -m wardtwin_board.cpython MAIN.py`, started by `Board` in the board's directory."""

import sys
from pathlib import Path

from wardtwin_board.cpython import environment

if __name__ == "__main__":
    environment.prepare()
    source = Path(sys.argv[1])
    exec(compile(source.read_bytes(), str(source), "exec"), {"__name__": "__main__"})
