"""The errors a user can cause: one line of text, exit code 2, no traceback."""


class UserError(ValueError):
    """Something the user can mend; the message says what, where, expected, got and the next step."""
