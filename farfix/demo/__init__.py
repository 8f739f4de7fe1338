"""`farfix demo`: the whole product as separate processes, with faults injected by a script."""
