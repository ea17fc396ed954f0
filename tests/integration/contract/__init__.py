"""What every implementation of a port must do, whatever it is made of."""
