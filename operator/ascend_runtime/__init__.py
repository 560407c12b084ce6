"""What runs inside job pods: wait for the rank table, prepare the data, train, try the result.

Imports of the operator are limited to `ascend_jobs.names` and `ascend_jobs.domain`; the meaning of paths, variables
and lines is in docs/contract.md.
"""
