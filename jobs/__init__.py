"""The life of a job: who owns what, what may happen to it, and who does it."""
