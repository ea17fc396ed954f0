"""The outside world behind `jobs.ports`: a database, a file store, a queue, a prober. One package or module each."""
