"""What callers notice of two servers that are restarted in turn, behind proxies and by client-side round_robin."""
