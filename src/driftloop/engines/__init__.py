"""Who plays which shard of chains."""
