"""State that the threads of a stream share: options, slots, the deadline fallback and the watchdog."""
