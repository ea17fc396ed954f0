"""How fast the pipeline is beside what people script themselves: ``python -m tests.bench``, ``make bench``."""
