"""The doors to the outside: clock, Modbus, disk, broker and firmware images."""
