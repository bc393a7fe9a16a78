"""Traces of requests across processes: the W3C trace context, spans, and the names of their attributes.

No tracer is part of this package. Without one, spans cost nothing, and the context of a caller is still passed on.
"""
