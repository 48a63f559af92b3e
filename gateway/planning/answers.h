#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace classgate::planning {

// What came back of the requests that were made, counted.
struct Answers {
  // Beside the numbers of errno: why there was no answer.
  static constexpr int closed = 0;  // by the other side, before the answer was whole
  static constexpr int not_http = -1;
  static constexpr int too_late = -2;      // nobody waited for it any longer
  static constexpr int broken_http2 = -3;  // the answer, or all of the connection
  static constexpr int only_http1 = -4;    // where HTTP/2 was asked for
  static constexpr int refused = -5;       // before it was looked at: REFUSED_STREAM, GOAWAY
  static constexpr int reset = -6;         // by RST_STREAM, before the answer was whole

  std::map<int, std::uint64_t> statuses;
  std::map<int, std::uint64_t> faults;
  // Of calls of gRPC, whose HTTP status tells nothing: how each ended (grpc-status).
  std::map<int, std::uint64_t> calls;

  void add(const Answers& more);
  std::uint64_t all() const;                   // that were answered
  std::uint64_t of_class(int hundreds) const;  // 2: 2xx
  std::uint64_t served() const;                // the only ones that are work done
  std::uint64_t all_faults() const;
  double served_share() const;  // of all that was asked

  // "2xx 12, 3xx 0, 4xx 1, 5xx 0; Connection refused: 3", "OK 12, RESOURCE_EXHAUSTED 3"
  std::string by_class() const;
  // Why none, or too few, were served, and what to do: "nothing answered: 305 connections refused".
  std::string why_not_served() const;
};

// "1,200"
std::string grouped(std::uint64_t number);

}  // namespace classgate::planning
