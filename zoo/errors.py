"""The one family of errors a user can cause: each is one clear sentence with the cure, and exit code 2."""


class UserError(Exception):
    """Bad input. ``str(error)`` is the whole message; the command line prints it and exits with 2, no traceback."""

    exit_code = 2


class UnknownName(UserError, LookupError):
    """A name, option or key that does not exist; the message gives the nearest valid one."""


class BadValue(UserError, ValueError):
    """A known key with a value of the wrong type or out of range."""


class UnmetNeed(UserError, ValueError):
    """Parts that do not go together, such as a pose metric on a data set without poses; the message names the cure."""


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """The tail of a did-you-mean message: `` Did you mean 'x'? Known: a, b, x.``"""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    guess = f" Did you mean '{close[0]}'?" if close else ""
    return f"{guess} Known: {', '.join(sorted(known)) or 'none'}."
