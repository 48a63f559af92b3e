#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "conf/settings.h"
#include "proxy/wire/message.h"

namespace classgate::gateway {

// One field of a request in the access log, under the key "header.x-tenant".
struct LoggedField {
  std::string_view key;
  std::string_view value;
};

// Which fields of requests the access log tells (log.headers), ready to be looked for, and what of
// a query it does not tell. Immutable: any thread.
class LoggedFields {
 public:
  // `sources`: all that tell clients apart.
  LoggedFields(const conf::LogSettings& settings,
               const std::vector<conf::IdentitySource>& sources = {});

  struct Name {
    std::string field;
    std::string key;
  };
  const std::vector<Name>& names() const { return names_; }
  std::size_t value_bytes_max() const { return value_bytes_max_; }
  bool user_agent_is_secret() const { return user_agent_is_secret_; }  // it tells clients apart
  // With "***" for the values of the parameters that tell clients apart (query:NAME), however they
  // are written, and for what looks like a credential. `room` holds it, if anything had to go.
  std::string_view masked(std::string_view query, std::string& room) const;

 private:
  std::string_view without_keys(std::string_view query, std::string& room) const;

  std::vector<Name> names_;
  std::vector<std::string> secret_parameters_;
  std::size_t value_bytes_max_;
  bool user_agent_is_secret_ = false;
};

// What a request says of itself that only the access log tells: copied from its head, which is gone
// when its line is written. Values are cut at log.header_bytes; of several fields of one name the
// first counts. What tells clients apart is masked in a value that has a query, too (Referer), and
// what looks like a credential in each. Its memory is kept for the next request. One thread.
class NotedFields {
 public:
  void note(const proxy::wire::Head& head, const LoggedFields& wanted);
  void clear();
  std::size_t held_bytes() const { return text_.capacity() + (named_ ? sizeof *named_ : 0); }

  // Valid until the next note() or clear(). Empty: it has none.
  std::string_view traceparent() const { return view(traceparent_); }
  std::string_view user_agent() const { return view(user_agent_); }
  std::span<const LoggedField> named();

 private:
  struct Part {  // of text_
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
  };
  Part keep(std::string_view text);
  Part keep_cut(std::string_view value, const LoggedFields& wanted);
  Part keep_without_secrets(std::string_view value, const LoggedFields& wanted);
  std::string_view view(Part part) const { return {text_.data() + part.begin, part.size}; }

  struct Named {
    std::size_t count = 0;
    // With their keys: a reload may take the names away.
    std::array<std::array<Part, 2>, conf::log_headers_max> parts;
    std::array<LoggedField, conf::log_headers_max> views;
  };

  std::string text_;
  Part traceparent_;
  Part user_agent_;
  std::unique_ptr<Named> named_;  // once a request had one of log.headers
};

}  // namespace classgate::gateway
