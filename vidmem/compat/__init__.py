"""Interfaces of other packages over vidmem, so that existing scripts need one changed import."""
