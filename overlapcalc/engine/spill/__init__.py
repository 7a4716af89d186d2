"""Where tensors lie between passes: in memory or in a file without a name, written and read in bands."""
