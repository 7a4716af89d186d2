"""A net in stages -> passes over the image: what each reads, computes, stores and holds. No torch here."""
