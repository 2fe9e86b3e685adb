"""The tag's code on CPython, where no MicroPython is to be had: the parts of MicroPython it stands on, and the same board modules.

What this does not show: MicroPython's own syntax and library limits, its heap. Everything else of the board is the same.
"""
