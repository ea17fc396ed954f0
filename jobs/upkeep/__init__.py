"""What an operator does now and then: `python -m jobs.upkeep migrate|bucket|sweep|reconcile`, each in a module here."""
