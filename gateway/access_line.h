#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace classgate::gateway {

// What the access log says of one exchange.
struct AccessFacts {
  std::string_view time;
  std::string_view request_id;
  std::string_view client;
  std::string_view method;
  std::string_view path;
  std::string_view route;
  int priority;  // 0: refused before it had one
  std::string_view verdict;
  std::string_view reason;
  std::string_view observed;  // the reason that would have refused it, but for [observe]; or "-"
  std::uint32_t cost;         // tokens of the rate limit that its route takes
  double deadline_ms;         // from its arrival: the longest that it may take
  double upload_ms;           // from its arrival until it asked for a worker
  double wait_ms;
  double upstream_ms;
  double total_ms;
  int status;  // 0: nobody was there to answer
  std::uint64_t bytes_in;
  std::uint64_t bytes_out;
  std::string_view upstream;
  unsigned retries;
  std::string_view tls;  // "-": clients connect without it
};

// Appends one line, newline included: key=value pairs, or a JSON object with the same keys. What a
// client may have written is quoted and escaped: a line is a line, whatever it holds.
void append_access_line(std::string& out, bool as_json, const AccessFacts& facts);

}  // namespace classgate::gateway
