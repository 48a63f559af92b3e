#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

namespace classgate::conf {

// What `classgate explain` is asked: a request that is not sent.
struct ExplainOptions {
  std::string method = {};
  std::string target = {};
  std::vector<std::string> fields = {};  // "Name: value"
  std::string client = "127.0.0.1";      // where its connection comes from
  std::string subject = {};              // of the client's certificate; empty: it shows none
  std::string san = {};                  // its alternative name, as "tls:san" takes it; likewise
  std::string listener = {};             // as `listen` has it; empty: one without a [[listener]]
  std::optional<std::uint64_t> body_bytes = {};
};

// As they stand on the command line: all that were given of each.
struct ExplainWords {
  std::vector<std::string> arguments = {};  // METHOD PATH
  std::vector<std::string> fields = {};
  std::vector<std::string> client = {};
  std::vector<std::string> subject = {};
  std::vector<std::string> san = {};
  std::vector<std::string> listener = {};
  std::vector<std::string> body = {};
};

// The error is one line for whoever typed it. What may be sent but is refused for what it is
// passes: that is for the gateway to explain.
std::expected<ExplainOptions, std::string> read_explain(const ExplainWords& words);

// Its head as it would come over the wire.
std::string head_of(const ExplainOptions& request);

}  // namespace classgate::conf
