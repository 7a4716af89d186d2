"""The ways to run a plan: crop feeds tiles to the net itself, trim and stream run it call by call."""
