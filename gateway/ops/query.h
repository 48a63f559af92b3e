#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace classgate::gateway {

// What stands behind '?': names and values, percent-decoded, '+' being a space (WHATWG URL,
// application/x-www-form-urlencoded). None when a '%' has no two digits behind it.
class Query {
 public:
  static std::optional<Query> read(std::string_view text);
  // The first of that name; empty: there is none.
  std::string_view value(std::string_view name) const;
  const std::vector<std::pair<std::string, std::string>>& all() const { return all_; }

 private:
  std::vector<std::pair<std::string, std::string>> all_;
};

}  // namespace classgate::gateway
