"""The words spoken across every boundary: topics, messages and machine types.

This package is poor on purpose: data, checks and a codec. It imports nothing of ours.
"""
