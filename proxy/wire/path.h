#pragma once

// The one spelling of a path by which it is judged and under which it is forwarded, so that no
// other spelling buys a better priority than the upstream would give it.

#include <optional>
#include <string>
#include <string_view>

namespace classgate::proxy::wire {

// True when `path` is already in normal form (the common case: nothing to write) and has neither a
// query nor a fragment behind it.
bool is_normal_path(std::string_view path);

// Writes the normal form of an absolute path (no query) into `out`: unreserved characters are
// percent-decoded and other escapes upper-cased (RFC 3986 section 6.2.2), duplicate slashes merged,
// dot segments removed (section 5.2.4). Escaped slashes stay escaped: they are data, not structure.
// False when the path does not start with '/', holds a broken or NUL escape, or would mean another
// path to a server that takes "%2F" and backslashes for slashes or ignores ";parameters": when that
// would make a dot segment ("/health%2F..%2Fv1", "/health/..;/v1").
bool normalise_path(std::string_view path, std::string& out);

// Whether nobody could read the path, as it was sent, another way: it holds no dot segment and no
// empty one, written in whatever way, and no escaped slash or percent sign ("%2F", "%25": what is
// decoded twice), backslash, ";parameters", control character, or bytes that are not UTF-8 in its
// shortest form ("%C0%AF"). (client.strict_paths)
bool has_one_reading(std::string_view path);

}  // namespace classgate::proxy::wire
