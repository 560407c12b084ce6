"""From code for GPUs to code that runs on Ascend NPUs: analysis and conversion, on the standard library alone."""
