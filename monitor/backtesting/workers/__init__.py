"""Who does the work of a backtest: this process, several processes, or a Ray cluster. The work is the same."""
