"""Networks behind the seam of `base.py`. FAMILIES holds them all: a new one is a folder here and one line in the table."""

from vidmem.networks.family import Family
from vidmem.networks.nano.card import NanoFamily
from vidmem.networks.resurgsam2.card import ReSurgFamily
from vidmem.networks.sam2.card import Sam2Family

FAMILIES: dict[str, Family] = {"nano": NanoFamily(), "sam2": Sam2Family(), "resurgsam2": ReSurgFamily()}
