"""Every screen as a picture, out of data that is made here: ``python -m tests.screens``."""
