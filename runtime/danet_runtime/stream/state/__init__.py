"""What the threads of a stream share: options, slots, the deadline's fallback and the watchdog."""
