"""How the bundles are made: data, stages and loops. Nothing here runs while serving."""
