"""Classification over one stream: `ledger` holds the state, `threads` and `tasks` do the I/O."""
