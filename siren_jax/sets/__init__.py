"""Sets of signals: read one by one, fitted together, and kept in one set of fields.

`signals` is the collection, `reader` reads it for the rows of a stack, `joint_descent` is the fit, `stack` its compiled
steps, `optimizer` their Adam, `tasks` what they minimise, `writer` where results go, and `field_set` the result.
"""
