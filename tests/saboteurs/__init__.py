"""Faults that the tests must notice: a table of them, and the runner behind ``make test-saboteurs``."""
