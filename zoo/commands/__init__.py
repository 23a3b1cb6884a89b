"""One file per command of `python -m zoo`: a `main` from arguments to exit code, imported only when it is used."""
