"""Test material with known truth, and the tools that measure it.

``codes`` draws and reads what a frame or a beep says, ``clips`` makes files, ``measure`` reads files back.
"""
