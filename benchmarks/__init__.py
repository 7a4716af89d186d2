"""What overlapcalc says of whole collections of models, checked without its own mathematics; and how fast it is."""
