"""Channel arguments and credentials that both implementations share, so that they behave alike.

Names and meanings: grpc/include/grpc/impl/channel_arg_names.h.
"""

import grpc

from ringmill.transport.api import ClientTls, Limits, ServerTls

Options = list[tuple[str, int | str]]

GRACE_MIN_S = 0.05
"""Time that a stopping server gives its idle connections to close in order; cut off, their clients log an error."""

_RECONNECT_FIRST_MS = 100
_RECONNECT_MAX_MS = 500
"""A balancer that was restarted is found again within this time; keys wait for it."""


def server_options(limits: Limits) -> Options:
    """Arguments of a server."""
    return [
        # On, two servers may share a port without noticing, and the kernel splits the connections between them.
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", limits.streams_per_connection_max),
        *_common(limits),
    ]


def channel_options(limits: Limits, tls: ClientTls | None) -> Options:
    """Arguments of a channel."""
    options: Options = [
        # A channel is a connection of its own: gRPC would share one between channels with equal arguments.
        ("grpc.use_local_subchannel_pool", 1),
        # Links go where they are told to; a proxy meant for the web, found in the environment, must not divert them.
        ("grpc.enable_http_proxy", 0),
        # Retries belong to the layers that know what a message means; here they would only buffer.
        ("grpc.enable_retries", 0),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.initial_reconnect_backoff_ms", _RECONNECT_FIRST_MS),
        ("grpc.max_reconnect_backoff_ms", _RECONNECT_MAX_MS),
        *_common(limits),
    ]
    if tls is not None and tls.override_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.override_name))
    return options


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Credentials that show a certificate, and ask for the client's where a CA for it is given."""
    return grpc.ssl_server_credentials(
        [(tls.key, tls.chain)], root_certificates=tls.client_ca, require_client_auth=tls.client_ca is not None
    )


def channel_credentials(tls: ClientTls) -> grpc.ChannelCredentials:
    """Credentials that check the server's certificate, and show our own where there is one."""
    return grpc.ssl_channel_credentials(tls.ca, tls.key, tls.chain)


def _common(limits: Limits) -> Options:
    """What both ends are told: size limits, and keepalive that also watches a connection without calls."""
    options: Options = [
        ("grpc.max_receive_message_length", limits.message_bytes_max),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.metadata_bytes_max),
        ("grpc.absolute_max_metadata_size", limits.metadata_bytes_max),
        # Accept the pings of any peer's keepalive instead of closing its connection for "too many pings".
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 0),
    ]
    if limits.keepalive_interval_s is not None:
        options += [
            ("grpc.keepalive_time_ms", round(limits.keepalive_interval_s * 1e3)),
            ("grpc.keepalive_timeout_ms", round(limits.keepalive_timeout_s * 1e3)),
            # Else a bandwidth probe that is in flight when the peer freezes holds the keepalive back for a minute.
            ("grpc.http2.ping_timeout_ms", round(limits.keepalive_timeout_s * 1e3)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
        ]
    return options
