"""`python -m ragwright`: the command `rag`, where that is not on the path."""

from ragwright.artifacts.cli import main

if __name__ == "__main__":
    main()
