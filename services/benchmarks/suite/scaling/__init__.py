"""The benchmark `scaling`: fleets that follow the demand, on a virtual clock."""
