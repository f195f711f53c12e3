"""The control plane for proxies (Envoy) and for gRPC clients that need none: a view as xDS resources, and who wants
which of them.

Pure. Read in this order: `settings`, `clusters`, `assignments` and `edge` (what is said), `check`, `resources` (named
and encoded), `wire`, `snapshot` (all of them at one time), `requests` (what is asked, and answered), and
`state_of_the_world` and `delta` (who is sent what, and when). Most of it needs envoy-data-plane, whose import takes
half a second: import it only where xDS is on.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
"""
