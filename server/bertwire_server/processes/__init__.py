"""Several server processes behind one port, which the kernel shares out by connection (SO_REUSEPORT).

`parent.py` starts them, `worker.py` keeps one running, `child.py` is what runs in it, `front.py` shows all by HTTP. The
parent talks to a child by lines of JSON: the child's standard input has its settings and the orders to stop, and ends
with the parent; its standard output has what it tells of itself.
"""
