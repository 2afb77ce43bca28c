"""The networks as pure torch modules; they hold no state of any video."""
