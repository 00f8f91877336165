"""What kind of process this is."""

#: Whether it is that of the command ``meanfield``, and not a user's Python; set by the command.
is_command = False
