"""The float transforms, computed where pixels changed."""
