"""What is read while a model is loaded, traced and judged, by Python, by C and by other threads: `hearing.watching`."""
