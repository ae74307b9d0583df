"""A YAML file and the words of the command line, to one validated spec."""
