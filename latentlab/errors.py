"""The one error for what a user gave: the command line and the app show its text instead of a traceback."""


class UserError(ValueError):
    """A value cannot be used; the message says what was given, what is wanted and what to do."""
