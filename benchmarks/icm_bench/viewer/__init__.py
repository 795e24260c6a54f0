"""The viewer: what people who look cost."""
