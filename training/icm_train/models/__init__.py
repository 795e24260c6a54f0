"""The networks in their trainable form."""
