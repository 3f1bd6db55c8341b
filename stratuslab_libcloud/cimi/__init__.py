"""
A CIMI 1.0.1 provider in front of a cloud (guide 9.3; DMTF's DSP0263): machines and volumes as
documents over HTTP, in JSON and XML.
"""
