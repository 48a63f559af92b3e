#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "conf/settings.h"

namespace classgate::conf {

// The options of a command line by their long names, as they were written, in their order.
class GivenOptions {
 public:
  void add(std::string name, std::string value) {
    options_.emplace_back(std::move(name), std::move(value));
  }
  bool has(std::string_view name) const;
  std::vector<std::string> all(std::string_view name) const;
  // The only one, or nothing. The error: it is given twice.
  std::expected<std::string, std::string> one(std::string_view name) const;

 private:
  std::vector<std::pair<std::string, std::string>> options_;
};

// What `classgate simulate` and `classgate load` are asked.
struct PlanningOptions {
  std::string log = {};       // an access log, or ...
  std::string workload = {};  // ... a workload file
  std::string format = {};    // whose the log is; empty: its first lines tell
  std::string upstream = {};  // "recorded", "fitted", a law, or a file with an [upstream]
  std::string json = {};      // a file, "-" for standard output, empty for none
  std::string html = {};
  std::string requests = {};  // a file with a line for each request
  std::optional<std::uint64_t> seed = {};
  bool keeps_going = false;  // whatever share of the lines is malformed
  std::vector<std::string> sweep = {};
  std::string growth = {};  // "10%/week,26"
  std::vector<std::string> plan = {};
  std::vector<std::string> scale = {};  // "3", "classify=3"
  std::string workload_out = {};        // a file that is made of the log
  std::string try_on = {};              // another log, for the plan
  std::string diff = {};                // the old conf
  // load
  std::string to = {};       // "http://127.0.0.1:8080"
  std::string path = {};     // what followed it there: "/embed"
  std::string request = {};  // a file with a request, or ...
  std::string method = {};   // ... what each of them says
  std::string body = {};     // a file
  std::optional<std::uint64_t> body_bytes = {};
  std::vector<std::string> fields = {};  // "Name: value"
  bool http2 = false;                    // by prior knowledge, in place of HTTP/1.1
  std::uint32_t streams = 1;             // of it, on one connection at once
  std::string grpc = {};  // "/package.Service/Method": each request is a unary call of it
  std::string service_time_header = {};  // tells a test service what each request takes
  bool forwarded_for = false;
  bool find_knee = false;
  bool anywhere = false;  // not only this machine
  milliseconds seconds_max{60'000};
  std::uint32_t connections_max = 2'000;
};

// What is wrong with them, in one line that names the option; nothing: they are in `planning`.
std::optional<std::string> read_planning(const GivenOptions& given, PlanningOptions& planning);

}  // namespace classgate::conf
