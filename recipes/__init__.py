"""Named experiments, one YAML each. Package data; no code."""
