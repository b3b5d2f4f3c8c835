"""Chain watchers: async readers of chains that speak in the nouns of `monitor.model`."""
