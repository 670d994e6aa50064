"""Classifying over one stream: `ledger` decides, `threads` and `tasks` carry out."""
