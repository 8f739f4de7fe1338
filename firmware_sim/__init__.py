"""Simulated machines on Modbus that can be broken on purpose.

``physics`` is stepped and pure; ``unit`` shows it as registers; ``bus`` serves them; ``control``
is the hand that breaks machines.
"""
