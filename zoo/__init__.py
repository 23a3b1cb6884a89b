"""The machinery of the Spacetime Zoo: registry, recipes, stages, store, command line. It names no component."""

__version__ = "0.1.0"


def load(run, **options):
    """The trained model of a run: an object with ``.encode``, ``.decode`` and ``.sample``; see zoo/finished_run.py."""
    from zoo.finished_run import load as load_run

    return load_run(run, **options)
