"""The harness that judges every alternative alike: metrics, suites, records, leaderboard."""
