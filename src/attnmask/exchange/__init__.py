"""Stage 3: a form <-> a framework's own mask arguments; recognise; diagnose."""
