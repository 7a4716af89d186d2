"""Proofs about loops: nothing is read before it is made, and the whole net makes again what the loop made."""
