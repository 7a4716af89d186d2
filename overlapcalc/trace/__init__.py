"""From an nn.Module to a layer graph. After this package only the engine, the proofs and the doors touch torch.

Import names from the modules, not from here.
"""
