"""The answers: `analyze`, `explain`, and the figures of each axis. Import names from the modules, not from here."""
