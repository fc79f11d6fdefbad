"""`python -m latentlab.cli`."""

from . import main

main()
