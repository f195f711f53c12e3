"""LDS and RDS: where proxies and gRPC clients come in, and which streams go where.

A stream with mixed keys goes to a balancer, which splits its batches. One about a single key may go straight to the
worker: its key is named by a header, or by `options.routing_key` of its first message, which the proxy reads. Events
are not looked at: each would make a header.
"""

from collections.abc import Sequence
from datetime import timedelta

import envoy_data_plane.envoy.config.common.mutation_rules.v3 as mutations
import envoy_data_plane.envoy.config.core.v3 as core
import envoy_data_plane.envoy.config.listener.v3 as listeners
import envoy_data_plane.envoy.config.route.v3 as routes
import envoy_data_plane.envoy.extensions.filters.http.grpc_field_extraction.v3 as extraction
import envoy_data_plane.envoy.extensions.filters.http.header_mutation.v3 as header_mutation
import envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 as http
import envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 as tls
from envoy_data_plane.envoy.extensions.filters.common.set_filter_state.v3 import FilterStateValue
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.http.set_filter_state.v3 import Config as SetFilterState
from envoy_data_plane.envoy.type.matcher.v3 import RegexMatchAndSubstitute, RegexMatcher, StringMatcher
from envoy_data_plane.google.protobuf import Any
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from ringmill.balancer.xds.clusters import own_source, socket_address
from ringmill.balancer.xds.settings import (
    CLIENTS,
    EDGE,
    EDGE_CERTIFICATE,
    EDGE_CLIENTS,
    OWNERS,
    ROUTERS,
    ROUTING_KEY_HEADER,
    SERVICE,
    EdgeTls,
    secret_file,
)
from ringmill.v1 import processing_pb2

_MANAGER = "envoy.filters.network.http_connection_manager"
_EXTRACTION = "envoy.filters.http.grpc_field_extraction"
_FIELD = "options.routing_key"
_EXTRACTED_HEADER = "x-ringmill-extracted-key"
"""Carries what the proxy has read, a list in JSON: `["key"]`. Nothing of the kind is taken from clients."""

_EXTRACTED = r'^\["(.+)"\]$'

_PROCESSING = processing_pb2.DESCRIPTOR.services_by_name["ProcessingService"].full_name
_KEYED = tuple(f"{_PROCESSING}.{method}" for method in ("Process", "ProcessBatch"))
_KEYED_PATH = f"/{_PROCESSING}/Process"
"""Begins the paths of both."""

_PUBLIC = (f"/{_PROCESSING}/", "/grpc.health.v1.Health/", "/grpc.reflection.")
"""What clients may call. Operators call the balancer itself."""

_NO_LIMIT = timedelta(0)
"""Streams last for days, and may be silent for as long."""


def edge_listener(host: str, port: int, direct: bool, secured: EdgeTls = "none") -> listeners.Listener:
    """Where a proxy listens for clients."""
    manager = _manager(EDGE, _key_filters() if direct else ())
    entry = listeners.Filter(name=_MANAGER, typed_config=Any.pack(manager))
    return listeners.Listener(
        name=EDGE,
        address=socket_address(host, port),
        filter_chains=[listeners.FilterChain(filters=[entry], transport_socket=_tls(secured))],
        per_connection_buffer_limit_bytes=4 << 20,
    )


def client_listener() -> listeners.Listener:
    """What a gRPC client asks for that dials the service without a proxy."""
    manager = http.HttpConnectionManager(
        stat_prefix=SERVICE,
        rds=http.Rds(config_source=own_source(), route_config_name=SERVICE),
        http_filters=[_filter("envoy.filters.http.router", Router())],
    )
    return listeners.Listener(name=SERVICE, api_listener=listeners.ApiListener(api_listener=Any.pack(manager)))


def edge_routes(direct: bool) -> routes.RouteConfiguration:
    """Who gets which stream at the proxy."""
    keyed = [_by_header(), _by_extracted()] if direct else []
    return _configuration(EDGE, [*keyed, *(_to_router(prefix) for prefix in _PUBLIC)])


def client_routes() -> routes.RouteConfiguration:
    """The same for gRPC clients: everything to the balancers."""
    return _configuration(SERVICE, [_route(routes.RouteMatch(prefix="/"), routes.RouteAction(cluster=CLIENTS))])


def _to_router(prefix: str) -> routes.Route:
    return _route(routes.RouteMatch(prefix=prefix), routes.RouteAction(cluster=ROUTERS))


def _tls(secured: EdgeTls) -> core.TransportSocket | None:
    """TLS 1.3 and nothing older, with certificates that are replaced while connections go on."""
    if secured == "none":
        return None
    common = tls.CommonTlsContext(
        tls_params=tls.TlsParameters(tls_minimum_protocol_version=tls.TlsParametersTlsProtocol.TLSv1_3),
        alpn_protocols=["h2"],  # gRPC clients end the connection without it
        tls_certificate_sds_secret_configs=[_secret(EDGE_CERTIFICATE)],
    )
    if secured == "mutual":
        common.validation_context_sds_secret_config = _secret(EDGE_CLIENTS)
    context = tls.DownstreamTlsContext(common_tls_context=common, require_client_certificate=secured == "mutual")
    return core.TransportSocket(name="envoy.transport_sockets.tls", typed_config=Any.pack(context))


def _secret(name: str) -> tls.SdsSecretConfig:
    source = core.ConfigSource(
        path_config_source=core.PathConfigSource(path=f"./{secret_file(name)}"), resource_api_version=core.ApiVersion.V3
    )
    return tls.SdsSecretConfig(name=name, sds_config=source)


def _by_header() -> routes.Route:
    present = routes.HeaderMatcher(name=ROUTING_KEY_HEADER, present_match=True)
    policy = routes.RouteActionHashPolicyHeader(header_name=ROUTING_KEY_HEADER)
    return _to_worker(present, policy)


def _by_extracted() -> routes.Route:
    # A key that JSON escapes is hashed as it was escaped, and finds some other worker, which passes its events on.
    pattern = RegexMatcher(regex=_EXTRACTED)
    matching = routes.HeaderMatcher(name=_EXTRACTED_HEADER, string_match=StringMatcher(safe_regex=pattern))
    policy = routes.RouteActionHashPolicyHeader(
        header_name=_EXTRACTED_HEADER, regex_rewrite=RegexMatchAndSubstitute(pattern=pattern, substitution=r"\1")
    )
    return _to_worker(matching, policy)


def _to_worker(header: routes.HeaderMatcher, policy: routes.RouteActionHashPolicyHeader) -> routes.Route:
    action = routes.RouteAction(cluster=OWNERS, hash_policy=[routes.RouteActionHashPolicy(header=policy)])
    return _route(routes.RouteMatch(prefix=_KEYED_PATH, headers=[header]), action)


def _route(match: routes.RouteMatch, action: routes.RouteAction) -> routes.Route:
    action.timeout = action.idle_timeout = _NO_LIMIT
    # A client's own deadline holds, however far away it is.
    action.max_stream_duration = routes.RouteActionMaxStreamDuration(grpc_timeout_header_max=_NO_LIMIT)
    # What no process has begun may begin elsewhere. What one may have begun is for the client to decide: only with a
    # producer's name is it applied once.
    action.retry_policy = routes.RetryPolicy(
        retry_on="connect-failure,refused-stream",
        num_retries=3,
        retry_back_off=routes.RetryPolicyRetryBackOff(
            base_interval=timedelta(milliseconds=5), max_interval=timedelta(milliseconds=50)
        ),
    )
    return routes.Route(match=match, route=action)


def _configuration(name: str, entries: Sequence[routes.Route]) -> routes.RouteConfiguration:
    host = routes.VirtualHost(name=name, domains=["*"], routes=list(entries))
    return routes.RouteConfiguration(name=name, virtual_hosts=[host])


def _manager(name: str, filters: Sequence[http.HttpFilter]) -> http.HttpConnectionManager:
    return http.HttpConnectionManager(
        stat_prefix=name,
        codec_type=http.HttpConnectionManagerCodecType.AUTO,
        rds=http.Rds(config_source=own_source(), route_config_name=name),
        stream_idle_timeout=_NO_LIMIT,
        request_headers_timeout=timedelta(seconds=10),
        use_remote_address=True,
        normalize_path=True,
        merge_slashes=True,
        http2_protocol_options=core.Http2ProtocolOptions(
            max_concurrent_streams=1024, initial_stream_window_size=4 << 20, initial_connection_window_size=16 << 20
        ),
        http_filters=[*filters, _filter("envoy.filters.http.router", Router())],
    )


def _key_filters() -> list[http.HttpFilter]:
    """Puts the field of the first message into a header of ours."""
    wanted = extraction.FieldExtractions(request_field_extractions={_FIELD: extraction.RequestFieldValueDisposition()})
    reading = extraction.GrpcFieldExtractionConfig(
        descriptor_set=core.DataSource(inline_bytes=_descriptors()),
        extractions_by_method=dict.fromkeys(_KEYED, wanted),
    )
    value = core.HeaderValue(key=_EXTRACTED_HEADER, value=f"%DYNAMIC_METADATA({_EXTRACTION}:{_FIELD})%")
    overwrite = core.HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
    writing = header_mutation.HeaderMutation(
        mutations=header_mutation.Mutations(
            request_mutations=[
                mutations.HeaderMutation(remove=_EXTRACTED_HEADER),
                mutations.HeaderMutation(append=core.HeaderValueOption(header=value, append_action=overwrite)),
            ]
        )
    )
    # The route was chosen when the headers came, and is chosen again when one more is there.
    read = FilterStateValue(
        object_key="ringmill.key_is_read",
        factory_key="envoy.string",
        format_string=core.SubstitutionFormatString(
            text_format_source=core.DataSource(inline_string="yes"),
        ),
    )
    return [
        _filter(_EXTRACTION, reading),
        _filter("envoy.filters.http.header_mutation", writing),
        _filter("envoy.filters.http.set_filter_state", SetFilterState([read], clear_route_cache=True)),
    ]


def _descriptors() -> bytes:
    files = FileDescriptorSet()
    processing_pb2.DESCRIPTOR.CopyToProto(files.file.add())
    return files.SerializeToString()


def _filter(
    name: str,
    config: Router | extraction.GrpcFieldExtractionConfig | header_mutation.HeaderMutation | SetFilterState,
) -> http.HttpFilter:
    return http.HttpFilter(name=name, typed_config=Any.pack(config))
