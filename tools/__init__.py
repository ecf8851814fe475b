"""Programs of the developers. Nothing in here is shipped."""
