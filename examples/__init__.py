"""Nets to try overlapcalc on, and papers that it makes work: kim2026, kamisli, cps, jpegai."""
