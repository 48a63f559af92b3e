#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace classgate::conf {

// What people write who know nginx, HAProxy, Envoy, Traefik, Caddy or LiteLLM, and what it is
// called here (other_tools.cpp; addresses: other_addresses.cpp). Hints for messages about what is
// no conf of ours: each is a clause, such as "nginx's client_max_body_size is client.body_bytes
// here"; empty: nobody's word that we know. None shows more of what was written than an address and
// words of the tables in other_tools.cpp.

// For the name of a key or table that there is not: its last part is looked up.
std::string hint_for_name(std::string_view name);
// Likewise of a table, where `inside` is a name in it: nginx's http has no routers.
std::string hint_for_table(std::string_view name, std::string_view inside);
// For a line that is no TOML: a directive, the head of a section, the end of a block.
std::string hint_for_line(std::string_view line);
// For an entry of `listen`, ops.listen or upstream.servers: what is no address of ours. Operators
// are proposed an address of this machine alone.
std::string hint_for_listener(std::string_view text);
std::string hint_for_operators(std::string_view text);
std::string hint_for_server(std::string_view text);
// A number of requests a second, as nginx and others write rates ("10r/s", "600/m", "50"); nothing:
// it is no such thing.
std::optional<double> rate_meant(std::string_view text);
// Every hint of the tables, and those of other_addresses.cpp alone: for a test.
std::vector<std::string> all_hints();
std::vector<std::string> all_address_hints();

}  // namespace classgate::conf
