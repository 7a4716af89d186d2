"""The laws of operators, composed: what every tensor of a net reads of every input, forward and backward."""
