#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "conf/settings.h"

namespace classgate::conf {

// "redis://[USER@]HOST[:PORT][/DATABASE]", "rediss://..." with TLS, "redis+unix:/path", as
// [sharing] has them. A password in it is a mistake, and not repeated in the message: it would be
// shown wherever the conf is.
std::expected<RedisServer, std::string> parse_redis_server(std::string_view text);

}  // namespace classgate::conf
