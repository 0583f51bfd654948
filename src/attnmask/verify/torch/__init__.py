"""The parts of verification that look inside torch: recording attention calls, running and probing modules."""
