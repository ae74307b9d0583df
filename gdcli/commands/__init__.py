"""What each command does, as functions that Python and the command line share."""
