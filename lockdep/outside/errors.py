"""The root of all errors that Sugarbush raises on purpose.

It stands on the lowest floor, since every floor raises some of them and a floor imports only downwards. What a program
under test shows is no error of this kind: `sugarbush.concurrency.Failure` is a finding, and ``except SugarbushError``
must not swallow it.
"""


class SugarbushError(Exception):
    """Sugarbush was asked for something that it cannot do; the message is one sentence that says what to do."""


def spelt(error: BaseException) -> str:
    """The type and message of an error, also of one that cannot say what it is."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
