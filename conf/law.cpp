
#include <array>
#include <charconv>
#include <sstream>

#include "conf/format.h"
#include "conf/nearest.h"
#include "conf/units.h"
#include "conf/workload.h"

namespace classgate::conf {
namespace {

struct Kind {
  const char* word;
  Law::Kind kind;
  std::size_t arguments;
  const char* form;
};
constexpr std::array kinds{
    Kind{"fixed", Law::Kind::fixed, 1, "\"fixed TIME\""},
    Kind{"exponential", Law::Kind::exponential, 1, "\"exponential MEAN\""},
    Kind{"uniform", Law::Kind::uniform, 2, "\"uniform FROM TO\""},
    Kind{"lognormal", Law::Kind::lognormal, 2, "\"lognormal MEDIAN P95\""},
    Kind{"pareto", Law::Kind::pareto, 2, "\"pareto MEAN SHAPE\", with a shape above 1"},
};

constexpr std::string_view law_example =
    "write a time such as \"50ms\", or a law such as \"exponential 50ms\", \"lognormal 40ms "
    "200ms\", "
    "\"uniform 10ms 90ms\" or \"pareto 50ms 1.5\"";

// With a fraction of a millisecond, which the laws of fast services need: "0.25ms", "1.5s".
std::optional<Nanoseconds> parse_time(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  const double factor = unit == "us"                                   ? 1e3
                        : unit == "ms"                                 ? 1e6
                        : unit == "s"                                  ? 1e9
                        : unit == "m"                                  ? 60e9
                        : unit == "h"                                  ? 3600e9
                        : unit.empty() && number == 0 && !text.empty() ? 1
                                                                       : -1;
  constexpr double most = 366 * 86400e9;
  if (error != std::errc{} || factor < 0 || !(number >= 0) || number * factor > most)
    return std::nullopt;
  return Nanoseconds(static_cast<Nanoseconds::rep>(number * factor));
}

std::string print_time(Nanoseconds time) {
  return fmt::format("{}ms", static_cast<double>(time.count()) / 1e6);
}

}  // namespace

std::expected<Law, std::string> parse_law(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(std::move(word));
  const auto wrong = [&](std::string_view why) {
    return std::unexpected(fmt::format("\"{}\" {}: {}", text, why, law_example));
  };
  if (words.empty()) return wrong("says no time");
  if (words.size() == 1 && words[0][0] >= '0' && words[0][0] <= '9')
    words.insert(words.begin(), "fixed");
  std::vector<std::string> names;
  for (const Kind& kind : kinds) {
    names.emplace_back(kind.word);
    if (words[0] != kind.word) continue;
    if (words.size() != kind.arguments + 1)
      return std::unexpected(fmt::format("\"{}\": write {}", text, kind.form));
    Law law{.kind = kind.kind, .first = {}, .second = {}, .shape = 0};
    const auto first = parse_time(words[1]);
    if (!first) return wrong("has no time that can be understood");
    law.first = *first;
    if (kind.kind == Law::Kind::pareto) {
      const char* end = words[2].data() + words[2].size();
      const auto [stop, error] = std::from_chars(words[2].data(), end, law.shape);
      if (error != std::errc{} || stop != end || !(law.shape > 1 && law.shape <= 100))
        return std::unexpected(fmt::format("\"{}\": the shape is above 1, at most 100", text));
    } else if (kind.arguments == 2) {
      const auto second = parse_time(words[2]);
      if (!second) return wrong("has no time that can be understood");
      if (*second < *first)
        return std::unexpected(fmt::format("\"{}\": the second is less than the first", text));
      if (kind.kind == Law::Kind::lognormal && first->count() == 0)
        return std::unexpected(fmt::format("\"{}\": a median above zero is needed", text));
      law.second = *second;
    }
    return law;
  }
  const std::string meant = nearest(words[0], names);
  return wrong(meant.empty() ? "is no law" : fmt::format("is no law (did you mean {}?)", meant));
}

std::string print_law(const Law& law) {
  switch (law.kind) {
    case Law::Kind::fixed: return print_time(law.first);
    case Law::Kind::exponential: return "exponential " + print_time(law.first);
    case Law::Kind::uniform:
      return fmt::format("uniform {} {}", print_time(law.first), print_time(law.second));
    case Law::Kind::lognormal:
      return fmt::format("lognormal {} {}", print_time(law.first), print_time(law.second));
    case Law::Kind::pareto: return fmt::format("pareto {} {}", print_time(law.first), law.shape);
  }
  return {};
}

}  // namespace classgate::conf
