"""Networks timed on this machine: engines, their fidelity, the clock, and the machine's own limits."""
