"""Reading and writing files: specs, weights, images. A file appears when it is complete."""
