"""What the examples of learned image codecs share."""
