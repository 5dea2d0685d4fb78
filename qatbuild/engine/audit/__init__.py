"""Audits of a store: results are built again in a scratch folder and compared, byte for byte, with those kept.

A result with right digests and wrong content can only be found so. Its writer's results are not used any more.
"""
