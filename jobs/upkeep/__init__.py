"""What an operator does now and then: `python -m jobs.upkeep COMMAND`, each command in a module here."""
