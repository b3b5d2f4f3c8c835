"""Changes of who may move the coins: Safes, proxies, owners, delegated accounts, time locks, proposals."""
