"""The commands of the command line, one in each module. Everything heavy is imported when a command needs it."""
