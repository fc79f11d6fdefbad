"""The Space's entry: it serves the pages of `latentlab.app`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a Space runs this file without installing the library

from latentlab.app.main import main

if __name__ == "__main__":
    main()
