"""``python -m gdcli``."""

from gdcli.cli import entry

if __name__ == "__main__":
    entry()
