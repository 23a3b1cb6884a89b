"""The wrapper around every command: user errors become one sentence and exit code 2, Ctrl-C becomes 130."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from zoo.errors import UserError

INTERRUPTED = 130


def guarded(function: Callable[[list[str]], int | None], arguments: Sequence[str]) -> int:
    """The exit code of ``function(arguments)``.

    A UserError is printed to stderr as it is, without a traceback, and gives 2. Ctrl-C gives 130 and a word on how to
    go on. A reader that went away (``| head``) is no error. Everything else is a bug of ours and keeps its traceback.
    """
    try:
        code = function(list(arguments)) or 0
        sys.stdout.flush()  # here, where a closed pipe is still caught
        return code
    except UserError as error:
        print(f"zoo: {_one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("zoo: interrupted; give the same command again to go on from the last checkpoint.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Python would complain once more when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _one_line(text: str) -> str:
    return " ".join(text.split())
