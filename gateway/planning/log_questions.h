#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace classgate::planning {

// What the requests of a log asked for, each question once and by its number: for those who ask it
// for real. 100,000 at most.
class LogQuestions {
 public:
  struct Asked {
    std::string_view method;  // empty: not told
    std::string_view path;    // without the query, which no log is sure to have
  };

  // The number of it, or `none`: there were too many.
  std::uint32_t number_of(std::string_view method, std::string_view path, std::uint32_t none);
  // Empty for a number that it has not given.
  Asked asked_by(std::uint32_t number) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> numbers_;  // "POST /v1"
  std::vector<const std::string*> by_number_;
};

}  // namespace classgate::planning
