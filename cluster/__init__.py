"""Many runs, or one run on many machines, on Ray."""
