"""The answers: `analyze`, `explain`, and what an Analysis gives for each axis. Names are imported from its modules."""
