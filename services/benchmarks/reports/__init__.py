"""Reports: figures with baselines and bars, statistics, tables, plots and the machine they were measured on."""
