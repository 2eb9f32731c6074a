"""An example of a platform: payment notifications come in, each payment is booked once."""
