// What a body costs by its JSON items, counted as it goes by, against a parser that is not ours.
// The first byte says which name and which parts; the rest is the text.

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/json_items.h"
#include "tests/fuzz/require.h"

namespace {

using classgate::gateway::JsonItemCount;

std::string low(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}

// The items of the largest array, or, with a name, those of all arrays that are its value.
class Model final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Model(const std::string& name) : name_(name) {}
  std::uint64_t items = 0;
  std::size_t deepest = 0;

  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool string(string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool start_object(std::size_t) override { return open(false); }
  bool start_array(std::size_t) override { return open(true); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& key) override {
    is_named_ = low(key) == name_;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }

 private:
  struct Open {
    bool is_array;
    bool is_named;
    std::uint64_t size = 0;
  };
  bool value() {
    if (!open_.empty() && open_.back().is_array) ++open_.back().size;
    is_named_ = false;
    return true;
  }
  bool open(bool is_array) {
    const bool is_named = is_named_;
    value();
    open_.push_back({is_array, is_array && is_named});
    deepest = std::max(deepest, open_.size());
    return true;
  }
  bool close() {
    const Open closed = open_.back();
    open_.pop_back();
    if (!closed.is_array) return true;
    if (name_.empty())
      items = std::max(items, closed.size);
    else if (closed.is_named)
      items += closed.size;
    return true;
  }

  const std::string name_;
  std::vector<Open> open_;
  bool is_named_ = false;
};

struct Found {
  std::uint64_t items;
  std::size_t deepest;
};

// Nothing when the text is not one JSON value.
std::optional<Found> parse(std::string_view text, const std::string& name) {
  Model model(name);
  if (!nlohmann::json::sax_parse(text, &model)) return std::nullopt;
  return Found{model.items, model.deepest};
}

std::uint64_t count(std::string_view text, const std::string& name, std::size_t part_size) {
  JsonItemCount counted(name);
  for (std::size_t at = 0; at < text.size(); at += part_size)
    counted.read(text.substr(at, part_size));
  return counted.items();
}

// Of values on lines of their own; nothing when one of them is none.
std::optional<std::uint64_t> parse_lines(std::string_view text, const std::string& name) {
  std::uint64_t sum = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const auto found = parse(text.substr(0, end), name);
    if (!found) return std::nullopt;
    sum += std::max<std::uint64_t>(found->items, 1);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::array<std::string, 4> names{"", "texts", "a", "_"};
  if (size == 0) return 0;
  const std::string& name = names[data[0] % 4];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::uint64_t items = count(text, name, std::max<std::size_t>(text.size(), 1));
  FUZZ_REQUIRE(items == count(text, name, 1 + data[0] / 4));

  constexpr std::string_view nul("\0", 1);
  if (text.find(nul) != std::string_view::npos) return 0;  // as many as there can be
  FUZZ_REQUIRE(items <= text.size() + 1);

  if (const auto found = parse(text, name)) {
    FUZZ_REQUIRE(items >= found->items);  // nobody lowers a cost by how it is written
    const bool is_plain = text.find('\\') == std::string_view::npos &&
                          std::ranges::all_of(text, [](char c) { return c > 0; });
    if (is_plain && found->deepest <= 16) FUZZ_REQUIRE(items == found->items);
  } else if (const auto sum = parse_lines(text, name)) {
    FUZZ_REQUIRE(items >= *sum);
  }
  return 0;
}
