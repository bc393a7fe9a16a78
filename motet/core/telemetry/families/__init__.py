"""All metric families. Each module declares those of one concern, see `motet.core.telemetry.service_metrics`.

Metric names are `motet_*` with base units. Label values are from closed sets: methods, codes, reasons, states,
and the modalities of the bundle. No label holds an id or a prompt. The label `replica` is an ordinal in its pool.
"""
