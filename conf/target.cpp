#include "conf/target.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <vector>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/workload.h"

namespace classgate::conf {
namespace {

using What = Target::What;

struct Word {
  const char* word;
  What what;
};
constexpr std::array measured_words{Word{"wait", What::wait},       Word{"answer", What::answer},
                                    Word{"latency", What::answer},  Word{"served", What::served},
                                    Word{"refused", What::refused}, Word{"rejected", What::refused},
                                    Word{"failed", What::failed},   Word{"left", What::left}};

bool goes_on(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }  // in UTF-8

class TargetReader {
 public:
  explicit TargetReader(const std::string& text) : text_(text) { split(); }
  std::expected<Target, std::string> read();

 private:
  struct Part {
    std::string text;
    std::size_t column;
  };
  void split();
  const Part& next() { return parts_[std::min(at_++, parts_.size() - 1)]; }
  const Part& peek() const { return parts_[std::min(at_, parts_.size() - 1)]; }
  bool is_at_end() const { return at_ + 1 >= parts_.size(); }
  std::unexpected<std::string> wrong(const Part& at, const std::string& why) const {
    return std::unexpected(fmt::format(
        "\"{}\", column {}: {}; write such as \"wait p95 <= 100ms for priority 3\", "
        "\"answer mean <= 2s\", \"refused <= 1%\" (or failed, left) or \"served >= 90%\", with "
        "\"for "
        "priority N\", \"for class NAME\" or \"for route PATH\"",
        text_, at.column, why));
  }
  std::expected<void, std::string> read_most(Target& target);
  std::expected<void, std::string> read_whose(Target& target);

  const std::string& text_;
  std::vector<Part> parts_;  // the last one is the end
  std::size_t at_ = 0;
};

void TargetReader::split() {
  std::size_t column = 1;
  bool is_in_part = false;
  for (std::size_t i = 0; i < text_.size();) {
    const std::string_view rest = std::string_view(text_).substr(i);
    std::string_view sign;
    for (const std::string_view known : {"<=", ">=", "\u2264", "\u2265"})
      if (rest.starts_with(known)) sign = known;
    if (!sign.empty()) {
      const bool is_least = sign == ">=" || sign == "\u2265";
      parts_.push_back({is_least ? ">=" : "<=", column});
      is_in_part = false;
      i += sign.size();
      column += sign.size() == 2 ? 2 : 1;
      continue;
    }
    const char c = text_[i++];
    if (c == ' ' || c == '\t') {
      is_in_part = false;
    } else {
      if (!is_in_part) parts_.push_back({"", column});
      parts_.back().text += c;
      is_in_part = true;
    }
    if (i == text_.size() || !goes_on(text_[i])) ++column;
  }
  parts_.push_back({"", column});
}

std::expected<Target, std::string> TargetReader::read() {
  Target target;
  target.text = printable(text_);  // a plan has it in a comment
  const Part& word = next();
  const auto known = std::ranges::find(measured_words, word.text, &Word::word);
  if (known == measured_words.end())
    return wrong(word, "\"" + word.text + "\" is nothing that is measured");
  target.what = known->what;
  if (target.is_of_times() && peek().text != "<=") {
    const Part& which = next();
    if (which.text == "mean")
      target.share = 0;
    else if (which.text == "max")
      target.share = 1;
    else if (which.text == "p50" || which.text == "p95" || which.text == "p99")
      target.share = std::stoi(which.text.substr(1)) / 100.0;
    else
      return wrong(which, "\"" + which.text + "\" is not mean, p50, p95, p99 or max");
  }
  const std::string sign = target.what == What::served ? ">=" : "<=";
  if (const Part& given = next(); given.text != sign)
    return wrong(given, fmt::format("has no {}{}", sign,
                                    given.text.empty() ? "" : ", but \"" + given.text + "\""));
  if (auto read = read_most(target); !read) return std::unexpected(read.error());
  if (is_at_end()) return target;
  if (auto read = read_whose(target); !read) return std::unexpected(read.error());
  return target;
}

std::expected<void, std::string> TargetReader::read_most(Target& target) {
  const Part& part = next();
  std::string value = part.text;
  if (peek().text == "%" || peek().text == "ms" || peek().text == "s") value += next().text;
  if (target.is_of_times()) {
    const auto law = parse_law(value);
    if (!law || law->kind != Law::Kind::fixed) return wrong(part, "has no time: \"" + value + "\"");
    target.most = static_cast<double>(law->first.count()) / 1e6;
    return {};
  }
  double percent = -1;
  const std::size_t size = value.ends_with('%') ? value.size() - 1 : 0;
  const auto [stop, error] = std::from_chars(value.data(), value.data() + size, percent);
  if (size == 0 || error != std::errc{} || stop != value.data() + size ||
      !(percent >= 0 && percent <= 100))
    return wrong(part, "has no share in %, 0 to 100: \"" + value + "\"");
  target.most = (target.what == What::served ? 100 - percent : percent) / 100;
  return {};
}

std::expected<void, std::string> TargetReader::read_whose(Target& target) {
  if (const Part& word = next(); word.text != "for")
    return wrong(word, "goes on with \"" + word.text + "\" instead of \"for\"");
  const Part& kind = next();
  const Part& whose = next();
  if (kind.text == "priority") {
    if (whose.text.size() != 1 || whose.text[0] < '1' || whose.text[0] > '5')
      return wrong(whose, "has no priority 1 to 5");
    target.priority = whose.text[0] - '0';
  } else if (kind.text == "class" || kind.text == "route") {
    target.group_kind = kind.text;
    target.group = whose.text;
    while (!is_at_end()) target.group += " " + next().text;
    if (target.group.empty()) return wrong(whose, "names no " + kind.text);
  } else {
    return wrong(kind, "is for neither priority, class nor route");
  }
  if (!is_at_end()) return wrong(peek(), "goes on after its end");
  return {};
}

}  // namespace

std::expected<Target, std::string> parse_target(const std::string& text) {
  return TargetReader(text).read();
}

std::expected<Target, std::string> parse_time_target(const std::string& text) {
  auto target = parse_target(text);
  if (!target) return target;
  const auto wrong = [&](std::string_view why) {
    return std::unexpected(fmt::format("\"{}\": {}", text, why));
  };
  if (!target->is_of_times())
    return wrong("of the times only, wait or answer, a forecast can tell");
  if (target->share >= 1) return wrong("no forecast tells of the greatest: p50, p95, p99 or mean");
  if (!target->group_kind.empty())
    return wrong("demand is known by priority, not by class or route");
  return target;
}

}  // namespace classgate::conf
