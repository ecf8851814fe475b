"""Hours of a household's traffic in minutes, and whether anything of the daemon grows by it."""
