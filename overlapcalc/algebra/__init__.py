"""Exact integer index maps, and what tensors are made of. Standard library only; nothing here knows an operator."""
