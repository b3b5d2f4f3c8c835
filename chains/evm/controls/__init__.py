"""Changes in who may move the coins of a watched account, as transactions and their logs tell of them. Pure."""
