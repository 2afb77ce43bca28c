"""Runtimes: what computes the network. Engines are imported when one is made, never before."""
