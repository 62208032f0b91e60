"""`python -m exemplar_model …`."""

from .cli import main

main()
