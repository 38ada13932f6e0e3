#!/usr/bin/env python3
"""llama_server.py FILE PORT: llama.cpp's own server, from the Python package xllamacpp, until it is ended."""

import sys
import time

import xllamacpp

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.hostnames = ["127.0.0.1"]
parameters.port = int(sys.argv[2])
parameters.n_ctx = 8192
parameters.n_parallel = 2
parameters.endpoint_slots = True
# Several engines share the cores, and two threads of one wait for each other without sleeping.
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(parameters)
print("ready", flush=True)
while True:
    time.sleep(3600)
