"""What comes from files and goes into them: specs, weights, images. A file appears when it is complete."""
