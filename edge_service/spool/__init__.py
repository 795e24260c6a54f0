"""The spool: records on disk until the cloud has persisted them."""
