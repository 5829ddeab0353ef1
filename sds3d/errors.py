"""The errors a user can cause: one line of text, exit code 2, no traceback."""


class UserError(ValueError):
    """An error that the user can fix; the message gives what, where, expected, got and the next step."""
