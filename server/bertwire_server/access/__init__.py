"""Who may call what, and how much: API keys, tokens, certificates, scopes, limits of a client and of a connection."""
