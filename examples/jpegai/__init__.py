"""The luma transforms of JPEG AI's base operating point."""
