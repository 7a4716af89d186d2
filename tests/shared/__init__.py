"""What several files of tests share: nets, brute force that knows no rule of overlapcalc, projects and commands."""
