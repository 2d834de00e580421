"""Many configurations: the axes that a command line names, what is best on them, and what a run should measure next."""
