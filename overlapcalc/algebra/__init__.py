"""Exact integer index maps, and the structure of tensors. Standard library only; nothing here knows any operator."""
