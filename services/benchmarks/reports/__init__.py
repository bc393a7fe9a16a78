"""Reports: figures with baselines and bars, statistics, tables, plots and the description of the machine."""
