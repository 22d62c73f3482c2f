"""What this machine has: the device to run on, probes of libraries, and what is missing."""
