"""Test material with known truth, and the tools that measure it.

``codes`` draws and reads what a frame or a beep says, ``encode`` writes it into files, ``clips`` makes the clips that
tests want, ``measure`` reads files back.
"""
