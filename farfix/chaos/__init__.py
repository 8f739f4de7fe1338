"""`farfix chaos`: the whole product under random kills and a bad network, and what it lost."""
