"""`python -m exemplar_model …`."""

from .standalone.cli import main

if __name__ == "__main__":
    main()
