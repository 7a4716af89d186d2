"""BlockCNN: nets that clean a block of a JPEG picture with the blocks around it."""
