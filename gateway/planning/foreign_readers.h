#pragma once

#include <memory>

#include "gateway/planning/access_entry.h"

// The logs of others. What each of them cannot tell is said where it is read (log_traffic.cpp).
namespace classgate::planning {

// nginx's combined, and behind it NAME=$NAME of these variables: msec, request_time,
// upstream_response_time, content_length; rt and urt are short for the second and third.
std::unique_ptr<LineReader> nginx_reader();
// HAProxy's "option httplog" (configuration manual, 8.2.3) and httpslog.
std::unique_ptr<LineReader> haproxy_reader();
// Envoy's default format.
std::unique_ptr<LineReader> envoy_reader();
// Caddy's access log, in JSON.
std::unique_ptr<LineReader> caddy_reader();
// A JSON object on each line, with fields of well-known names.
std::unique_ptr<LineReader> json_reader();

}  // namespace classgate::planning
